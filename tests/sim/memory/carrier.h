// What a unit carries transfers out with: an endpoint, which has one of the two sides itself, or a channel of an engine, which
// is told both, or of a NIC, to which the other end of its wire shows one of the two.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "drivers/nic/nic.h"
#include "machine/endpoint.h"
#include "machine/state.h"

namespace barter::sim {

// The NIC at the other end of the units' wire.
inline constexpr const char* kFar = "far";

class Carrier {
 public:
  virtual ~Carrier() = default;
  struct Order {
    machine::Direction direction = machine::Direction::from_endpoint;
    std::uint64_t offset = 0;            // of the local side, in an endpoint
    DmaSegment local;                    // the local side, for an engine or a NIC
    std::uint64_t bytes = 0;             // of either side
    std::span<const DmaSegment> memory;  // the other side
    std::uint64_t tag = 0;
  };
  [[nodiscard]] virtual Result<void> submit(const Order& order) = 0;
  virtual void ring() = 0;
  [[nodiscard]] virtual Result<std::size_t> poll(std::span<machine::PieceResult> results) = 0;
  [[nodiscard]] virtual std::string describe(std::uint16_t status) const = 0;
  // Host memory for its DMA; of a NIC once, and all local sides are in it.
  [[nodiscard]] virtual Result<pci::DmaBuffer> allocate(std::uint64_t bytes) = 0;

  // The unit is up, and outlives it, as does the NIC at the other end of a NIC's wire.
  [[nodiscard]] static Result<std::unique_ptr<Carrier>> open(machine::DriveUnit& unit, std::uint32_t depth,
                                                             drivers::nic::Nic& far);
};

}  // namespace barter::sim
