// A drive's controller memory buffer, exported to peers (peer/owned_exporter.h).
//
// What a CMB is good for is said by two bits of CMBSZ, from the view of the drive's own commands (NVMe base 2.0,
// section 3.1.3.12): RDS, data of commands that move from controller to host (Read) may be put there; WDS, data of
// commands that move from host to controller (Write) may be taken from there. A way through the CMB has two halves,
// one by the drive itself and one by a peer, and each bit allows one way:
//
//   RDS   the drive's own Read fills the CMB (it writes), and a peer fetches from it (it reads)
//   WDS   a peer fills the CMB (it writes), and the drive's own Write takes from it (it reads)
//
// As memory on the bus it can be read and written by any peer in either case, and no register says otherwise. But a
// drive that lacks the bit has not promised to take data of that kind, and Linux publishes a CMB only with both. So
// hardware_access() is the sum over both halves, and ruled_out() refuses the half that a missing bit rules out. With
// neither bit everything is refused.
//
// Threads: any, as the seam asks. The controller outlives the exporter.
#pragma once
#include <optional>

#include "drivers/nvme/controller.h"
#include "peer/owned_exporter.h"

namespace barter::drivers::nvme {

class CmbExporter final : public peer::OwnedExporter {
 public:
  // The controller has a CMB.
  explicit CmbExporter(Controller& controller);

  [[nodiscard]] Bdf function() const override { return function_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] BusAddress bus_address() const override { return address_; }
  [[nodiscard]] Access hardware_access() const override;
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange range) override;
  [[nodiscard]] bool is_present() override;

 protected:
  [[nodiscard]] std::optional<Answer> ruled_out(const Request& request) const override;

 private:
  Controller& controller_;
  Bdf function_;
  ControllerMemoryInfo info_;
  std::uint64_t size_bytes_;  // less what the driver keeps for queues
  BusAddress address_;
  std::span<std::byte> bytes_;
};

}  // namespace barter::drivers::nvme
