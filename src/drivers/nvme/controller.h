// A user-space NVMe driver over pci::Function: it can't tell a software device from one behind VFIO.
//
//   auto controller = nvme::Controller::create(std::move(function), {});
//   auto queue = (*controller)->create_queue_pair({.entries = 64});
//   (*queue)->submit({.opcode = nvme::Opcode::read, .block = 0, .blocks = 8, .data = segments, .tag = 7});
//   (*queue)->ring();
//   while ((*queue)->poll(completions) == 0) clock.idle();
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "barter/topology.hpp"
#include "barter/units.hpp"
#include "pci/function.h"
#include "peer/segments.h"

namespace barter::drivers::nvme {

struct ControllerOptions {
  Duration ready_timeout = std::chrono::seconds(30);  // at most; the controller's own CAP.TO is obeyed when shorter
  Duration command_timeout = std::chrono::seconds(10);
  bool use_controller_memory = true;    // enable the CMB, if there is one
  bool use_sgl = true;                  // where the controller takes them and they are shorter
  std::uint16_t io_queues = 16;         // to ask for; the controller grants what it likes
  std::uint16_t interrupt_vectors = 0;  // MSI-X vectors to enable; 0: everything is polled
  // The last bytes of the CMB are kept for submission queues, and are not part of what can be exported.
  std::uint64_t controller_memory_for_queues_bytes = 0;
  Duration shutdown_timeout =
      std::chrono::seconds(10);  // at least; a controller that names a longer one (RTD3E) gets it
};

struct ControllerFacts {
  std::string model, serial, firmware;
  std::uint32_t version = 0;             // VS
  std::uint64_t max_transfer_bytes = 0;  // of one command (MDTS)
  std::uint16_t max_queue_entries = 0;
  std::uint16_t io_queues = 0;  // that the controller has granted
  bool takes_sgl = false;
  std::uint32_t page_bytes = 0;                          // memory pages as the controller counts them (CC.MPS)
  std::uint64_t controller_memory_for_queues_bytes = 0;  // at the end of the CMB
  // What is there but was left out, and why: "namespace 3 is left out: its blocks carry 8 bytes of metadata, ...".
  std::vector<std::string> remarks;
};

struct NamespaceFacts {
  std::uint32_t id = 0;
  std::uint64_t blocks = 0;
  std::uint32_t block_bytes = 0;
  bool write_protected = false;
  [[nodiscard]] std::uint64_t size_bytes() const { return blocks * block_bytes; }
};

enum class Opcode : std::uint8_t { flush, write, read };

struct Command {
  Opcode opcode = Opcode::read;
  std::uint32_t namespace_id = 1;
  std::uint64_t block = 0;
  std::uint32_t blocks = 0;          // 1 to 65536, and within max_transfer_bytes
  std::span<const DmaSegment> data;  // where the bytes go or come from: together blocks * block_bytes
  std::uint64_t tag = 0;             // comes back with the completion
};

struct CommandResult {
  std::uint64_t tag = 0;
  std::uint16_t status =
      0;  // status field without the phase bit: SC 7:0, SCT 10:8, CRD 12:11, M 13, DNR 14; 0 is success
  [[nodiscard]] bool ok() const { return status == 0; }
};
// "Invalid Use of Controller Memory Buffer (SCT 0h, SC 12h), do not retry"
[[nodiscard]] std::string describe_status(std::uint16_t status);

struct QueueOptions {
  std::uint16_t entries =
      64;  // 2 at least; a controller that takes fewer gets fewer (ControllerFacts::max_queue_entries)
  // Completions also send this MSI-X message; below ControllerOptions::interrupt_vectors.
  std::optional<std::uint16_t> interrupt_vector;
  // The submission queue lies in the CMB, in what ControllerOptions::controller_memory_for_queues_bytes has kept.
  bool submissions_in_controller_memory = false;
};

// One submission and one completion queue. One thread at a time. Submitting and polling allocate nothing, take no lock
// and make no system call.
//
// Destroying a queue pair deletes both queues, or stops the whole controller if it doesn't answer: afterwards no
// command of this queue pair touches memory any more. After an error of poll() the segments of commands in flight must
// stay as they are until then.
class QueuePair {
 public:
  virtual ~QueuePair() = default;
  [[nodiscard]] virtual std::uint16_t id() const = 0;        // 1 and up
  [[nodiscard]] virtual std::uint16_t capacity() const = 0;  // commands that can be in flight
  [[nodiscard]] virtual std::uint16_t in_flight() const = 0;
  // The lists of segments that submit() takes, of whatever kinds: peer/segments.h cuts memory into them.
  [[nodiscard]] virtual peer::SegmentLimits segment_limits() const = 0;
  // Puts a command into the queue; the controller sees it after ring(). ErrorCode::exhausted when the queue is full,
  // and invalid_argument when the segments can't be described to this controller.
  [[nodiscard]] virtual Result<void> submit(const Command& command) = 0;
  virtual void ring() = 0;
  // Takes up to results.size() completions. ErrorCode::device_failed when the controller answers what it was never
  // asked, device_gone when it has left, timed_out when the oldest command is overdue; the queue pair is then of no
  // more use.
  [[nodiscard]] virtual Result<std::size_t> poll(std::span<CommandResult> results) = 0;
  // Has an interrupt for this queue arrived since the last call? Always false for a queue without a vector.
  [[nodiscard]] virtual bool take_interrupt() = 0;
};

class Controller {
 public:
  // Brings the controller up as NVMe 2.0, 3.5.1 says: reset, admin queues, enable, identify, queue count, CMB.
  [[nodiscard]] static Result<std::unique_ptr<Controller>> create(std::unique_ptr<pci::Function> function,
                                                                  ControllerOptions options);
  virtual ~Controller() = default;
  [[nodiscard]] virtual pci::Function& function() = 0;
  [[nodiscard]] virtual const ControllerFacts& facts() const = 0;
  [[nodiscard]] virtual std::span<const NamespaceFacts> namespaces() const = 0;
  // The CMB, enabled, with what it is good for; none if the controller has none. With a CMB of NVMe 1.2 and 1.3, whose
  // place the controller assumes to be its BAR, the same.
  [[nodiscard]] virtual const std::optional<ControllerMemoryInfo>& controller_memory() const = 0;
  // Where the CMB lies on the bus, and the CPU's view of it, which may be empty. Only with controller_memory(). This
  // controller's own commands name bytes of its CMB by the same address, whatever IOMMU there is: it keeps them off
  // the bus.
  [[nodiscard]] virtual BusAddress controller_memory_address() const = 0;
  [[nodiscard]] virtual std::span<std::byte> controller_memory_bytes() = 0;
  // A new I/O queue pair. The controller must outlive it. ErrorCode::exhausted when all granted queues are in use.
  [[nodiscard]] virtual Result<std::unique_ptr<QueuePair>> create_queue_pair(QueueOptions options) = 0;
  // Normal shutdown (CC.SHN); also done on destruction.
  [[nodiscard]] virtual Result<void> shut_down() = 0;
};

}  // namespace barter::drivers::nvme
