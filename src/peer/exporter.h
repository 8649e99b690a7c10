// The seam to the owner of device memory. The contract is tests/contract/exporter_contract.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"

namespace barter::peer {

// One contiguous piece of device memory in one BAR. Nothing here costs anything per page.
class Exporter {
 public:
  virtual ~Exporter() = default;

  [[nodiscard]] virtual Bdf function() const = 0;
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  // Where the memory lies on the bus now.
  [[nodiscard]] virtual BusAddress bus_address() const = 0;
  // True where the kernel alone knows that, and lends the memory to processes: then bus_address() is an address of this
  // process, and only importers whose requests go through the same kernel can use it (DmaDomain::takes_pointers).
  [[nodiscard]] virtual bool is_known_by_pointer() const { return false; }
  // Is the memory anybody's who asks for some? False where it has an owner already, as ordinary memory of the process has:
  // nearest_provider() passes it by.
  [[nodiscard]] virtual bool is_on_offer() const { return true; }
  // Does the device still answer, and was it not reset meanwhile? Else what the CPU reads are not the bytes that were there.
  // Called with no lock held; any thread.
  [[nodiscard]] virtual bool is_present() { return true; }
  // What the hardware allows peers to do with it at all (an NVMe CMB without WDS takes no data that peers write).
  [[nodiscard]] virtual Access hardware_access() const = 0;
  // The CPU's view of a part, or empty if there is none.
  [[nodiscard]] virtual std::span<std::byte> cpu_bytes(MemoryRange range) = 0;
  // The Exchange hands out this range, or has got it back; whole pages, each range as one, and no two overlap. For memory
  // that is there as a whole from the start, there is nothing to do. Called with no lock held; any thread. An exporter that
  // leaves the machine first gets nothing back.
  [[nodiscard]] virtual Result<void> acquire(MemoryRange) { return {}; }
  virtual void release(MemoryRange) {}
  // The most bytes that importers may hold pinned at a time: 0 refuses all pins, none is no limit. Called with no lock held;
  // any thread. The Exchange counts each mapping with its whole pages, also where two overlap.
  [[nodiscard]] virtual std::optional<std::uint64_t> pin_limit_bytes() const { return std::nullopt; }
  // The owner's decision on one request. Called with no lock held; any thread.
  [[nodiscard]] virtual Answer decide(const Request& request) = 0;
  // Something that decide() answered `direct` to is gone, or did not come to be: barter::Unmapped. Called with no lock held;
  // any thread.
  virtual void unmapped(const Request&) {}
};

}  // namespace barter::peer
