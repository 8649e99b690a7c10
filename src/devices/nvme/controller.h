// The NVMe controller model: strict, and sharing nothing with the driver.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "barter/result.hpp"
#include "devices/nvme/backing.h"
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
  bool fatal_after_enable = false;     // CSTS.CFS
  bool absurd_capabilities = false;    // CAP and CMBSZ that can't be
  bool ignores_doorbells = false;
};

struct ControllerSetup {
  std::uint16_t vendor_id = 0x1b36;
  std::uint16_t device_id = 0x0010;
  std::string serial = "barter";
  std::vector<NamespaceSetup> namespaces;
  std::uint64_t cmb_bytes = 0;
  std::uint16_t max_queues = 16;           // I/O queue pairs
  std::uint16_t max_queue_entries = 1024;
  std::uint8_t doorbell_stride_log2 = 0;   // CAP.DSTRD
  bool sgl = true;
  Misbehaviour misbehaviour;
};

// Refuses setups that the specification rules out.
[[nodiscard]] Result<std::unique_ptr<fabric::Device>> create_controller(ControllerSetup setup);

}  // namespace barter::devices::nvme
