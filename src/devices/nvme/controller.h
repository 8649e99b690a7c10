// The NVMe controller model: strict, and sharing nothing with the driver.
//
//   ControllerSetup setup;
//   setup.namespaces.push_back({.backing = std::move(backing), .block_bytes = 512});
//   setup.cmb_bytes = 64 << 20;
//   auto controller = create_controller(std::move(setup));     // then fabric.plug("nvme0", std::move(*controller))
//
// What the host does wrong ends as the specification says and is recorded as a violation besides. Threads: as
// fabric::Device says; the functions at the end may be called from any thread while the machine runs.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "barter/result.hpp"
#include "devices/nvme/backing.h"
#include "devices/nvme/buffer_abilities.h"
#include "fabric/device.h"

namespace barter::devices::nvme {

struct NamespaceSetup {
  std::unique_ptr<Backing> backing;
  std::uint32_t block_bytes = 512;  // 512 or 4096
};

// How the controller lies, for tests. Everything off: it is honest.
struct Misbehaviour {
  bool wrong_command_id = false;       // completions for commands that were never sent
  bool wrong_submission_head = false;  // an SQHD beyond the queue
  bool never_ready = false;
  bool fatal_after_enable = false;   // CSTS.CFS
  bool absurd_capabilities = false;  // CAP and CMBSZ that can't be
  bool ignores_doorbells = false;
  double lost_completions = 0;  // how many of the I/O commands are done and never completed: 0 to 1
  double late_completions = 0;  // how many are completed some steps late, and so out of order
  std::uint64_t seed = 1;       // of the two
};

struct ControllerSetup {
  std::uint16_t vendor_id = 0x1b36;
  std::uint16_t device_id = 0x0010;
  std::string serial = "barter";
  std::vector<NamespaceSetup> namespaces;
  std::uint64_t cmb_bytes = 0;
  std::uint16_t max_queues = 16;  // I/O queue pairs
  std::uint16_t max_queue_entries = 1024;
  std::uint8_t doorbell_stride_log2 = 0;  // CAP.DSTRD
  bool sgl = true;
  Misbehaviour misbehaviour;
  BufferAbilities cmb;
  std::uint8_t cmb_bar = 4;                                   // 2 or 4
  std::uint64_t cmb_offset_bytes = 0;                         // within that BAR
  std::uint64_t max_transfer_bytes = std::uint64_t{2} << 20;  // of one command (MDTS): a power of two, 4 KiB to 64 MiB
};

// Refuses setups that the specification rules out.
[[nodiscard]] Result<std::unique_ptr<fabric::Device>> create_controller(ControllerSetup setup);

// For a device made by create_controller(); any other one has none of these.
// What the operating system said when a medium last failed; the host saw only a status.
[[nodiscard]] std::optional<Error> last_backing_error(const fabric::Device& device);
// Backing::identity() of the namespace; empty if there is no such namespace.
[[nodiscard]] std::string medium_of(fabric::Device& device, std::uint32_t namespace_id);
// Makes sure that later writes to this part of the namespace don't fail for want of space.
[[nodiscard]] Result<void> reserve(fabric::Device& device, std::uint32_t namespace_id, std::uint64_t offset,
                                   std::uint64_t bytes);

}  // namespace barter::devices::nvme
