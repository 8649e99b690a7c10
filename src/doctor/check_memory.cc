// Memory of devices that peers could use: drives' controller memory buffers, BARs, and what the kernel made of them.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "doctor/checks.h"

namespace barter::doctor {
namespace {

// What the kernel's nvme driver asks of a buffer that becomes p2pmem: whole sections of its memory map.
constexpr std::uint64_t kSectionBytes = std::uint64_t{2} << 20;

struct Buffer {
  const ControllerMemoryInfo& memory;
  const BarInfo* bar = nullptr;  // none: the source doesn't tell of that BAR
  std::uint64_t usable_bytes = 0;
};

Buffer buffer_of(const FunctionInfo& drive, const ControllerMemoryInfo& memory) {
  Buffer buffer{.memory = memory, .usable_bytes = memory.size_bytes};
  for (const BarInfo& bar : drive.bars)
    if (bar.index == memory.bar && bar.kind == BarInfo::Kind::memory) buffer.bar = &bar;
  if (buffer.bar == nullptr || !buffer.bar->size_bytes) return buffer;
  const std::uint64_t bar_bytes = *buffer.bar->size_bytes;
  buffer.usable_bytes =
      memory.offset_bytes >= bar_bytes ? 0 : std::min(memory.size_bytes, bar_bytes - memory.offset_bytes);
  return buffer;
}

std::string bits_text(const ControllerMemoryInfo& memory) {
  return fmt::format("SQS {}, CQS {}, LISTS {}, RDS {}, WDS {}", memory.submission_queues ? 1 : 0,
                     memory.completion_queues ? 1 : 0, memory.lists ? 1 : 0, memory.read_data ? 1 : 0,
                     memory.write_data ? 1 : 0);
}

// Why the buffer can't take data that peers exchange, by its own registers; empty: it can.
std::string why_no_data(const Buffer& buffer) {
  const ControllerMemoryInfo& memory = buffer.memory;
  if (buffer.usable_bytes == 0)
    return fmt::format("it begins {} into BAR {}, which ends before", size_text(memory.offset_bytes), memory.bar);
  if (!memory.read_data && !memory.write_data)
    return "it is for queues only: neither RDS nor WDS is set, so that no data may be put there";
  if (!memory.write_data) return "WDS is not set: data that goes to the drive may not be put there";
  if (!memory.read_data) return "RDS is not set: data that comes from the drive may not be put there";
  return {};
}

// Why Linux would not make p2pmem of it; empty: it would.
std::string why_not_for_linux(const Buffer& buffer) {
  if (buffer.usable_bytes % kSectionBytes != 0)
    return fmt::format("its size, {}, is no multiple of 2 MiB, and Linux then ignores it",
                       size_text(buffer.usable_bytes));
  if (buffer.bar != nullptr && buffer.bar->address && buffer.bar->address->value % kSectionBytes != 0)
    return fmt::format("BAR {} begins at 0x{:x}, which is no multiple of 2 MiB, and Linux then ignores the buffer",
                       buffer.memory.bar, buffer.bar->address->value);
  return {};
}

enum class Use : std::uint8_t { none, unusable, usable, unknown };

// Of one drive's buffer, by what its registers and the kernel say.
Use use_of(const Case& the_case, const Device& drive) {
  const auto* use = the_case.system.use_of(drive.function->bdf);
  if (use != nullptr && use->peer_memory && *use->peer_memory)
    return (*use->peer_memory)->is_published ? Use::usable : Use::unusable;
  const auto& memory = drive.function->controller_memory;
  if (!memory) {
    // The nvme driver shows the registers of every buffer that it finds.
    const bool looked_at = use != nullptr && use->driver && *use->driver == "nvme";
    return looked_at ? Use::none : Use::unknown;
  }
  if (!*memory) return Use::none;
  const Buffer buffer = buffer_of(*drive.function, **memory);
  if (!why_no_data(buffer).empty()) return Use::unusable;
  return the_case.system.has_kernel && !why_not_for_linux(buffer).empty() ? Use::unusable : Use::usable;
}

std::string size_of_peer_memory(const PeerMemory& memory) {
  return fmt::format("{} of p2pmem, {} of it free, published {}", size_text(memory.size_bytes),
                     size_text(memory.available_bytes), memory.is_published ? 1 : 0);
}

class BufferCheck {
 public:
  BufferCheck(const Case& the_case, const Device& drive) : case_(the_case), drive_(*drive.function) {
    if (const auto* use = the_case.system.use_of(drive_.bdf); use != nullptr && use->peer_memory && *use->peer_memory)
      shared_ = &**use->peer_memory;
    driver_ = the_case.system.use_of(drive_.bdf);
  }

  std::optional<Finding> look() {
    if (!drive_.controller_memory || !*drive_.controller_memory) {
      if (shared_ == nullptr) return std::nullopt;
      return by_kernel();
    }
    const Buffer buffer = buffer_of(drive_, **drive_.controller_memory);
    Finding finding =
        about(fmt::format("{} has a controller memory buffer of {} in BAR {}: {}", called(drive_),
                          size_text(buffer.memory.size_bytes), buffer.memory.bar, bits_text(buffer.memory)));
    finding.source = case_.register_source(drive_, "CMBLOC and CMBSZ");
    judge(buffer, finding);
    return finding;
  }

 private:
  Finding about(std::string fact) const {
    return {.code = "controller_memory", .subject = drive_.bdf.to_string(), .fact = std::move(fact)};
  }

  void judge(const Buffer& buffer, Finding& finding) const {
    finding.severity = Severity::warning;
    const bool by_linux = case_.system.has_kernel;
    if (std::string why = why_no_data(buffer); !why.empty()) {
      finding.meaning = std::move(why);
      finding.remedies = {another_provider()};
    } else if (std::string reason = why_not_for_linux(buffer); by_linux && !reason.empty()) {
      finding.meaning = std::move(reason);
      finding.remedies = {own_driver(), another_provider()};
    } else if (shared_ != nullptr) {
      judge_shared(finding);
    } else if (by_linux && is_driven_by_nvme()) {
      finding.meaning = "the buffer is fit for data, but the kernel has made no p2pmem of it";
      finding.remedies = {{"sudo dmesg | grep -e nvme -e p2p", "shows what the driver says about it", "nothing"}};
    } else {
      finding.severity = Severity::info;
      finding.meaning = "fit for data in both directions, so that peers can pass data through it";
    }
  }

  void judge_shared(Finding& finding) const {
    finding.fact += fmt::format("; the kernel has {}", size_of_peer_memory(*shared_));
    finding.source +=
        fmt::format("; {}", case_.file(fmt::format("sys/bus/pci/devices/{}/p2pmem", drive_.bdf.to_string())));
    if (!shared_->is_published) {
      finding.meaning = "the driver does not publish it, so that nobody finds it";
      finding.remedies = {another_provider()};
    } else if (shared_->available_bytes == 0) {
      finding.meaning = "all of it is taken, by queues of the driver or by programs";
      finding.remedies = {no_queues()};
    } else if (case_.system.queues_in_cmb && *case_.system.queues_in_cmb &&
               shared_->available_bytes < shared_->size_bytes) {
      finding.severity = Severity::info;
      finding.meaning = "peers can pass data through what is free; the driver's queues may have taken the rest";
      finding.remedies = {no_queues()};
    } else {
      finding.severity = Severity::info;
      finding.meaning = "peers can pass data through it";
    }
  }

  Finding by_kernel() const {
    Finding finding = about(fmt::format("the memory of {} is given out by the kernel", called(drive_)));
    finding.severity = Severity::warning;
    finding.source = case_.register_source(drive_, "p2pmem");
    judge_shared(finding);
    return finding;
  }

  [[nodiscard]] bool is_driven_by_nvme() const {
    return driver_ != nullptr && driver_->driver && *driver_->driver == "nvme";
  }

  static Remedy another_provider() {
    return {"barter copy ... --via PROVIDER",
            "goes through the memory of another device; barter topo shows who has some",
            "nothing, if there is another; else hardware"};
  }
  static Remedy no_queues() {
    return {"nvme.use_cmb_sqes=0", "on the kernel's command line, keeps the driver's queues out of the buffers",
            "a little latency of commands"};
  }
  Remedy own_driver() const {
    return {fmt::format("sudo barter bind {} vfio-pci", drive_.bdf.to_string()),
            "drives it from user space, where only 4 KiB matter",
            "its block devices go away while it is so bound, and an IOMMU is needed"};
  }

  const Case& case_;
  const FunctionInfo& drive_;
  const PeerMemory* shared_ = nullptr;
  const FunctionUse* driver_ = nullptr;
};

// BARs of cards that compute; 256 MiB is the window that such cards have without a large BAR.
constexpr std::uint64_t kSmallWindowBytes = std::uint64_t{256} << 20;

void check_window(const Case& the_case, const Device& device, Findings& findings) {
  const BarInfo* largest = nullptr;
  for (const BarInfo& bar : device.function->bars) {
    if (bar.kind != BarInfo::Kind::memory || !bar.size_bytes) continue;
    if (largest == nullptr || *bar.size_bytes > *largest->size_bytes) largest = &bar;
  }
  if (largest == nullptr) return;
  const bool is_small = *largest->size_bytes <= kSmallWindowBytes;
  Finding finding{.severity = is_small ? Severity::warning : Severity::info,
                  .code = "bar_size",
                  .subject = device.function->bdf.to_string(),
                  .fact = fmt::format("the largest BAR of {} is BAR {}, with {}", called(*device.function),
                                      largest->index, size_text(*largest->size_bytes)),
                  .source = the_case.register_source(*device.function, "BAR sizes")};
  finding.meaning =
      is_small ? "peers reach only as much of its memory at a time; exporting more fails, whatever the driver says "
                 "about the rest"
               : "that much of its memory can be reached by peers at a time";
  if (is_small)
    finding.remedies = {
        {"BIOS: Above 4G Decoding and Resizable BAR, enabled",
         "lets the card show all of its memory, if it can; lspci -vvv shows a Resizable BAR capability then",
         "needs UEFI boot; some old cards and option ROMs no longer work"}};
  findings.push_back(std::move(finding));
}

void check_assignment(const Case& the_case, const Device& device, Findings& findings) {
  for (const BarInfo& bar : device.function->bars) {
    if (bar.kind != BarInfo::Kind::memory || bar.address || !bar.size_bytes || *bar.size_bytes == 0) continue;
    findings.push_back(
        {.severity = Severity::warning,
         .code = "bar_unassigned",
         .subject = device.function->bdf.to_string(),
         .fact = fmt::format("BAR {} of {}, {}, has no address", bar.index, called(*device.function),
                             size_text(*bar.size_bytes)),
         .source = the_case.register_source(*device.function, fmt::format("BAR {}", bar.index)),
         .meaning = fmt::format("no request can reach it: {}", bar.address.why_unknown()),
         .remedies = {{"pci=realloc=on", "on the kernel's command line, lets Linux make the bridges' windows anew",
                       "some machines don't boot with it"},
                      {"BIOS: Above 4G Decoding, enabled", "makes room for large BARs",
                       "needs UEFI boot; some old cards and option ROMs no longer work"}}});
  }
}

}  // namespace

void check_providers(const Case& the_case, Findings& findings) {
  std::size_t drives = 0;
  std::size_t none = 0;
  std::size_t unusable = 0;
  for (const Device& device : the_case.devices) {
    if (device.role != Role::drive) continue;
    ++drives;
    const Use use = use_of(the_case, device);
    if (use == Use::usable || use == Use::unknown) return;
    none += use == Use::none ? 1u : 0u;
    unusable += use == Use::unusable ? 1u : 0u;
  }
  if (drives == 0) return;
  const bool others = std::ranges::any_of(the_case.system.functions, [](const FunctionUse& use) {
    return use.peer_memory && *use.peer_memory && (*use.peer_memory)->is_published;
  });
  const bool accelerators =
      std::ranges::any_of(the_case.devices, [](const Device& device) { return device.role == Role::accelerator; });
  if (others) return;
  findings.push_back(
      {.severity = accelerators ? Severity::warning : Severity::blocker,
       .code = "no_provider",
       .subject = "machine",
       .fact = fmt::format("of {}, {} without a controller memory buffer and {} with one that takes no data",
                           count_of(drives, "drive"), none, unusable),
       .source = fmt::format("CMBSZ of each drive, by {}", the_case.topology.source()),
       .meaning = accelerators
                      ? "drives can't pass data to each other directly, unless through an accelerator's memory, whose "
                        "driver must share it"
                      : "no device has memory that the drives could pass data through",
       .remedies = {{"a drive with a controller memory buffer (RDS and WDS), or an accelerator that shares its memory",
                     "direct transfers need the memory of one device on the way", "hardware"}}});
}

void check_controller_memory(const Case& the_case, Findings& findings) {
  for (const Device& device : the_case.devices) {
    if (device.role != Role::drive) continue;
    if (auto finding = BufferCheck(the_case, device).look()) findings.push_back(std::move(*finding));
  }
}

void check_bars(const Case& the_case, Findings& findings) {
  for (const Device& device : the_case.devices) {
    if (device.role == Role::accelerator) check_window(the_case, device, findings);
    check_assignment(the_case, device, findings);
  }
}

void check_block_layers(const Case& the_case, Findings& findings) {
  for (const Device& device : the_case.devices) {
    const FunctionUse* use = the_case.system.use_of(device.function->bdf);
    if (use == nullptr) continue;
    const std::string folder =
        the_case.file(fmt::format("sys/bus/pci/devices/{}/nvme", device.function->bdf.to_string()));
    if (!use->multipath_namespaces.empty())
      findings.push_back(
          {.severity = Severity::warning,
           .code = "multipath",
           .subject = device.function->bdf.to_string(),
           .fact = fmt::format("{} of {} is behind an nvme-multipath device", list_of(use->multipath_namespaces),
                               called(*device.function)),
           .source = folder,
           .meaning = "the multipath device takes no device memory in its requests, though the drive would",
           .remedies = {{"nvme_core.multipath=N",
                         "on the kernel's command line, gives the drive its block devices back",
                         "a drive with two ports is seen twice, and there is no failover"}}});
    if (!use->holders.empty())
      findings.push_back(
          {.severity = Severity::warning,
           .code = "block_layer",
           .subject = device.function->bdf.to_string(),
           .fact = fmt::format("on {} is built: {}", called(*device.function), list_of(use->holders)),
           .source = folder + "/*/*/holders",
           .meaning = "dm (LVM, crypt) and md (RAID) take no device memory in their requests; files on them go by "
                      "way of host memory",
           .remedies = {{"use the drive's own block device, or a file system made directly on it",
                         "requests then reach the nvme driver as they are",
                         "what the layer gave: volumes, "
                         "encryption, redundancy"}}});
  }
}

}  // namespace barter::doctor
