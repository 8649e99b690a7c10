// The accelerator's page tables (docs/devices/accelerator.md, section 4): virtual addresses for its engines, backed by its
// own memory or by anything on the bus. The tables lie in host memory, where the driver writes them without the device's
// help.
//
// A mapping is taken back as it was made, whole. When unmap() returns, the device has forgotten it and no access by it is
// under way. One thread at a time.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "drivers/accelerator/registers.h"
#include "pci/function.h"

namespace barter::drivers::accelerator {

struct Device;

inline constexpr std::size_t kMaxTables = 65536;
inline constexpr std::uint64_t kVirtualBytes = std::uint64_t{1} << 48;

class AddressSpace {
 public:
  explicit AddressSpace(Device& device) : device_(device) {}
  ~AddressSpace();

  struct Page {
    std::uint64_t virtual_address = 0;
    std::uint64_t bytes = 0;
    Access access = Access::read_write;  // `write` allows reading too: the device knows no other way
  };
  // All numbers are multiples of 4 KiB. Superpages are used where all of them are aligned.
  [[nodiscard]] Result<void> map_local(Page page, std::uint64_t local_offset);
  [[nodiscard]] Result<void> map_bus(Page page, DmaAddress address);
  // Memory of another accelerator behind a link.
  [[nodiscard]] Result<void> map_link(Page page, LinkAddress address);
  [[nodiscard]] Result<void> unmap(std::uint64_t virtual_address);

  [[nodiscard]] std::size_t mappings() const { return mappings_.size(); }

 private:
  struct Table {
    pci::DmaBuffer page;
    std::map<std::uint32_t, std::unique_ptr<Table>> below;  // by index
  };
  // What all entries of a mapping have in common, and where the next page lies.
  struct Target {
    std::uint64_t address = 0;
    PageEntry common;
  };
  [[nodiscard]] Result<void> check(const Page& page, std::uint64_t target) const;
  [[nodiscard]] Result<void> map(const Page& page, Target target);
  [[nodiscard]] Result<std::unique_ptr<Table>> make_table();
  // The entry for a page of 2^log2 bytes; makes the tables above it.
  [[nodiscard]] Result<std::uint64_t*> entry(std::uint64_t virtual_address, unsigned page_log2);
  [[nodiscard]] Result<void> install(Page page, Target target);
  void clear(std::uint64_t virtual_address, std::uint64_t bytes, std::uint64_t target);
  [[nodiscard]] Result<void> invalidate();

  struct Mapped {
    std::uint64_t bytes = 0;
    std::uint64_t target = 0;
  };
  Device& device_;
  std::unique_ptr<Table> root_;
  std::size_t tables_ = 0;
  std::map<std::uint64_t, Mapped> mappings_;
};

}  // namespace barter::drivers::accelerator
