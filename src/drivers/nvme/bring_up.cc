#include "drivers/nvme/bring_up.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "drivers/command_register.h"
#include "pci/class_code.h"
#include "pci/config_header.h"

namespace barter::drivers::nvme {
namespace {

constexpr std::string_view kBringUp = "bringing up the NVMe drive";
constexpr std::uint64_t kConfigAllOnes = 0xffffffff;

Error gone(const Device& device) {
  return device.error(ErrorCode::device_gone, kBringUp, "the drive is not there: its registers read as all ones",
                      "check that it is powered and its link is up");
}

// BAR 0 must hold the registers and the doorbells of the admin queue and of one I/O queue.
std::uint64_t least_bar_bytes(std::uint32_t stride_bytes) { return completion_doorbell(1, stride_bytes).value + 4; }

// Waits for CSTS.RDY to become `ready`. A fatal error ends the wait, and so does a drive that leaves.
Result<void> wait_ready(Device& device, bool ready) {
  Status status;
  const auto deadline = device.clock().now() + device.ready_timeout;
  (void)base::wait_until(device.clock(), deadline, [&] {
    status = read<Status>(*device.registers);
    return status.is_gone() || status.get(Status::ready) == ready || (ready && status.get(Status::fatal));
  });
  if (!status.is_gone() && status.get(Status::ready) == ready && !(ready && status.get(Status::fatal))) return {};
  const auto timeout_ms = std::chrono::duration_cast<std::chrono::milliseconds>(device.ready_timeout).count();
  return fail(device.silence(ready ? "enabling the NVMe drive" : "resetting the NVMe drive",
                             fmt::format("CSTS.RDY should be {:d} within {} ms", ready, timeout_ms)));
}

}  // namespace

Result<void> open_function(Device& device) {
  auto id = device.function->read_config(pci::VendorId::kOffset, 4);
  if (!id) return fail(std::move(id.error()));
  if (*id == kConfigAllOnes) return fail(gone(device));
  auto revision = device.function->read_config(pci::ClassRevision::kOffset, 4);
  if (!revision) return fail(std::move(revision.error()));
  const auto class_code = pci::ClassRevision::from(*revision).get(pci::ClassRevision::class_code);
  if (class_code != pci::kClassNvme)
    return fail(device.error(
        ErrorCode::unsupported, kBringUp,
        fmt::format("its class code is {:06x}, and an NVMe controller's is {:06x}", class_code, pci::kClassNvme),
        "name an NVMe drive"));
  if (auto on = turn_on(*device.function); !on) return on;

  auto registers = device.function->map_bar(0);
  if (!registers) return fail(std::move(registers.error()));
  device.registers = std::move(*registers);
  if (const auto size = device.registers->size_bytes(); size < least_bar_bytes(4))
    return fail(device.error(ErrorCode::device_failed, kBringUp,
                             fmt::format("BAR 0 has {} bytes, too few for the doorbells of one I/O queue", size)));
  return {};
}

Result<void> read_capabilities(Device& device) {
  using C = Capabilities;
  const auto cap = read<Capabilities>(*device.registers);
  device.version = read<Version>(*device.registers);
  if (cap.raw == ~std::uint64_t{0} || read<Status>(*device.registers).is_gone()) return fail(gone(device));
  device.capabilities = cap;

  const auto lie = [&](std::string why) {
    return fail(device.error(ErrorCode::device_failed, kBringUp, fmt::format("CAP is {:#018x}: {}", cap.raw, why)));
  };
  if (cap.get(C::max_queue_entries_0based) == 0) return lie("MQES allows queues of one entry, and two are the least");
  const auto page_min = cap.get(C::page_size_min_log2_minus12) + 12;
  const auto page_max = cap.get(C::page_size_max_log2_minus12) + 12;
  if (page_min > page_max)
    return lie(fmt::format("MPSMIN asks for pages of 2^{} bytes, and MPSMAX allows 2^{} at most", page_min, page_max));
  if (page_min > kMaxPageLog2)
    return fail(device.error(ErrorCode::unsupported, kBringUp,
                             fmt::format("it takes no memory pages smaller than 2^{} bytes", page_min)));
  if ((cap.get(C::command_sets) & kCommandSetNvm) == 0)
    return fail(device.error(
        ErrorCode::unsupported, kBringUp,
        fmt::format("it doesn't speak the NVM command set (CAP.CSS is {:#04x})", cap.get(C::command_sets))));
  device.page_log2 = static_cast<unsigned>(page_min);
  device.doorbell_stride_bytes = 4u << cap.get(C::doorbell_stride_log2_minus2);
  if (const auto size = device.registers->size_bytes(); size < least_bar_bytes(device.doorbell_stride_bytes))
    return lie(fmt::format("with doorbells {} bytes apart, those of one I/O queue don't fit BAR 0 of {} bytes",
                           device.doorbell_stride_bytes, size));
  // TO is the worst case in units of 500 ms. A controller that leaves it at 0 has said nothing.
  const auto own = std::chrono::milliseconds(500) * static_cast<std::int64_t>(cap.get(C::timeout_500ms));
  device.ready_timeout =
      own.count() == 0 ? device.options.ready_timeout : std::min<Duration>(own, device.options.ready_timeout);
  return {};
}

Result<void> disable(Device& device) {
  const auto configuration = read<Configuration>(*device.registers);
  const auto status = read<Status>(*device.registers);
  if (status.is_gone()) return fail(gone(device));
  if (configuration.get(Configuration::enable)) {
    // Section 3.1.3.5: EN goes back to 0 only once RDY has become 1. One that never gets there is disabled all the
    // same.
    if (!status.get(Status::ready) && !status.get(Status::fatal)) (void)wait_ready(device, true);
    write(*device.registers, configuration.with(Configuration::enable, false).with(Configuration::shutdown, 0));
  }
  return wait_ready(device, false);
}

Result<void> enable(Device& device, const AdminQueue& admin) {
  using A = AdminQueueAttributes;
  using C = Configuration;
  pci::Mmio& registers = *device.registers;
  // Step 2: the admin queue.
  write(registers, A{}.with(A::completion_entries_0based, AdminQueue::kEntries - 1u)
                       .with(A::submission_entries_0based, AdminQueue::kEntries - 1u));
  write(registers, AdminSubmissionQueue::from(admin.submission_address().value));
  write(registers, AdminCompletionQueue::from(admin.completion_address().value));
  // Steps 3 and 4: command set (0: NVM), arbitration (0: round robin), page size, and the sizes of queue entries.
  const auto settings = C{}.with(C::completion_entry_log2, kCompletionEntryLog2)
                            .with(C::submission_entry_log2, kSubmissionEntryLog2)
                            .with(C::page_size_log2_minus12, device.page_log2 - 12);
  write(registers, settings);
  // Steps 5 and 6.
  write(registers, settings.with(C::enable, true));
  return wait_ready(device, true);
}

Result<void> announce_shutdown(Device& device, Duration timeout) {
  const auto is_over = [](Status status) {
    return status.is_gone() || status.get(Status::shutdown) == kShutdownComplete;
  };
  if (read<Status>(*device.registers).is_gone()) return fail(gone(device));
  const auto configuration = read<Configuration>(*device.registers);
  write(*device.registers, configuration.with(Configuration::shutdown, kShutdownNormal));
  const auto deadline = device.clock().now() + timeout;
  const bool in_time =
      base::wait_until(device.clock(), deadline, [&] { return is_over(read<Status>(*device.registers)); });
  if (in_time && !read<Status>(*device.registers).is_gone()) return {};
  return fail(device.silence("shutting down the NVMe drive", "CSTS.SHST should say that shutdown is complete"));
}

void stop_dma(Device& device) {
  const auto status = read<Status>(*device.registers);
  const bool is_settled =
      status.get(Status::ready) || !read<Configuration>(*device.registers).get(Configuration::enable);
  if (is_settled && disable(device)) return;
  // It is gone, or hangs half-way. Without Bus Master Enable it can't start a request; if even that fails, it is not
  // there.
  if (!status.is_gone()) write(*device.registers, Configuration{});
  (void)take_bus_mastering(*device.function);
}

}  // namespace barter::drivers::nvme
