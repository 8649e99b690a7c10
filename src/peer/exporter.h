// The seam to the owner of device memory. The contract is tests/contract/exporter_contract.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "barter/address.hpp"
#include "barter/memory.hpp"

namespace barter::peer {

// One contiguous piece of device memory in one BAR. Nothing here costs anything per page.
class Exporter {
 public:
  virtual ~Exporter() = default;

  [[nodiscard]] virtual Bdf function() const = 0;
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  // Where the memory lies on the bus now.
  [[nodiscard]] virtual BusAddress bus_address() const = 0;
  // What the hardware allows peers to do with it at all (an NVMe CMB without WDS takes no data that peers write).
  [[nodiscard]] virtual Access hardware_access() const = 0;
  // The CPU's view of a part, or empty if there is none.
  [[nodiscard]] virtual std::span<std::byte> cpu_bytes(MemoryRange range) = 0;
  // The owner's decision on one request. Called with no lock held; any thread.
  [[nodiscard]] virtual Answer decide(const Request& request) = 0;
};

}  // namespace barter::peer
