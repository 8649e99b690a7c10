// One IOMMU group of this computer, opened, in a container of its own: the address space that the group's DMA lives in.
//
// A container for each group, because what is mapped in a container is reached by all functions in it, and a function must
// not reach what was exported to another one. Within a group the hardware itself can't keep functions apart.
//
// Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "linux/binding/pci_sysfs.h"
#include "linux/descriptor.h"
#include "linux/vfio/iova_space.h"

namespace barter::linux_os::vfio {

inline constexpr std::uint64_t kPageBytes = 4096;
// Memory that an IOMMU may map by one entry; larger pieces are aligned to it.
inline constexpr std::uint64_t kSuperpageBytes = std::uint64_t{2} << 20;

class Group {
 public:
  // Opens the group of this function, which is bound to vfio-pci.
  [[nodiscard]] static Result<std::shared_ptr<Group>> open(const PciSysfs& sysfs, Bdf function);
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  [[nodiscard]] std::uint32_t number() const { return number_; }
  [[nodiscard]] Result<Descriptor> open_device(Bdf function) const;

  // Makes memory of this process, whole pages, reachable for the group's DMA. Host memory is pinned; the memory of a BAR
  // that this process has mapped is not, so whoever maps it here keeps its mapping until it is unmapped.
  // With `wanted`, at that DMA address if it is free.
  [[nodiscard]] Result<DmaAddress> map(std::span<std::byte> memory, Access access,
                                       std::optional<DmaAddress> wanted = {});
  // What map() gave, whole. When it returns, a request to that range faults. The one reason for an error is that the
  // kernel broke its word; the memory must then be kept for good.
  [[nodiscard]] Result<void> unmap(DmaAddress address, std::uint64_t bytes);

 private:
  Group(std::uint32_t number, Descriptor container, Descriptor group, IovaSpace space)
      : number_(number), container_(std::move(container)), group_(std::move(group)), space_(std::move(space)) {}
  [[nodiscard]] std::optional<std::uint64_t> find_place(std::span<std::byte> memory, std::optional<DmaAddress> wanted);
  [[nodiscard]] Error map_error(int error_number, std::uint64_t bytes) const;
  [[nodiscard]] std::string name() const { return "IOMMU group " + std::to_string(number_); }

  std::uint32_t number_;
  Descriptor container_;  // outlives the group's
  Descriptor group_;
  std::mutex mutex_;
  IovaSpace space_;
};

}  // namespace barter::linux_os::vfio
