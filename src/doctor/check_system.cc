// The kernel and what this user may do with it.
#include <array>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "doctor/checks.h"
#include "doctor/kernel_version.h"

namespace barter::doctor {
namespace {

Remedy newer_kernel(std::string effect) {
  return {
      "sudo apt install -t trixie-backports linux-image-amd64", std::move(effect),
      "a reboot into another kernel, and modules built for the old one are to be built anew; other distributions name "
      "their newer kernels otherwise"};
}

std::string_view word_for(OptionState state) {
  switch (state) {
    case OptionState::no:
      return "n";
    case OptionState::yes:
      return "y";
    case OptionState::module:
      return "m";
  }
  return "";
}

struct OptionRule {
  std::string_view name;
  Severity without;
  std::string_view meaning;  // of it being off
};
constexpr std::array kRules = {
    OptionRule{
        "CONFIG_PCI_P2PDMA", Severity::blocker,
        "the kernel gives no device memory out and maps none for DMA: neither drives' memory buffers (p2pmem) nor "
        "VFIO's dma-bufs"},
    OptionRule{"CONFIG_ZONE_DEVICE", Severity::blocker,
               "the kernel has no pages for device memory, and CONFIG_PCI_P2PDMA needs them"},
    OptionRule{"CONFIG_IO_URING", Severity::warning,
               "drives that the kernel drives can't be read and written with many requests in flight"},
    OptionRule{"CONFIG_VFIO_PCI", Severity::warning, "no device can be driven from user space, only by the kernel"},
    OptionRule{"CONFIG_VFIO_PCI_DMABUF", Severity::info,
               "memory of a device that is driven from user space can't be lent to the kernel's drivers as a dma-buf"},
    OptionRule{"CONFIG_IOMMUFD", Severity::info,
               "VFIO is used by its older interface, containers and groups, which does the same for this purpose"},
};

}  // namespace

void check_kernel_release(const Case& the_case, Findings& findings) {
  const SystemFacts& system = the_case.system;
  if (!system.has_kernel || !system.kernel_release) return;
  const auto version = parse_kernel_version(*system.kernel_release);
  if (!version) return;
  Finding finding{.code = "kernel_version",
                  .subject = "kernel",
                  .fact = fmt::format("the kernel is {}", *system.kernel_release),
                  .source = the_case.file("proc/sys/kernel/osrelease")};
  if (*version < kFirstWithPeerMemory) {
    finding.severity = Severity::blocker;
    finding.meaning = "kernels know of peer-to-peer DMA from 4.20 on, and let programs use it from 6.2 on";
  } else if (*version < kFirstWithUserPeerMemory) {
    finding.severity = Severity::blocker;
    finding.meaning =
        "programs can map a drive's memory (p2pmem/allocate) from 6.2 on; this one keeps it for the kernel's own "
        "NVMe-oF target. Drives that are driven from user space, through VFIO, are not concerned";
  } else {
    finding.severity = Severity::info;
    finding.meaning = *version < kFirstWithVfioDmabuf
                          ? "programs can map drives' memory; VFIO lends device memory as a dma-buf from 6.19 on"
                          : "programs can map drives' memory, and VFIO can lend device memory as a dma-buf";
  }
  if (finding.severity == Severity::blocker)
    finding.remedies = {newer_kernel(
        "installs Debian's newest kernel for its stable release; look for CONFIG_PCI_P2PDMA=y in /boot/config-* before "
        "booting it, not every newer kernel has it")};
  findings.push_back(std::move(finding));
}

void check_kernel_options(const Case& the_case, Findings& findings) {
  if (!the_case.system.has_kernel) return;
  std::string there;
  std::string source;
  for (const OptionRule& rule : kRules) {
    const KernelOption* option = the_case.system.option(rule.name);
    if (option == nullptr || !option->state) continue;
    if (*option->state != OptionState::no) {
      there += fmt::format("{}{}={}", there.empty() ? "" : ", ", rule.name, word_for(*option->state));
      if (source.empty()) source = option->source;
      continue;
    }
    Finding finding{.severity = rule.without,
                    .code = "kernel_option",
                    .subject = "kernel",
                    .fact = fmt::format("{} is off", rule.name),
                    .source = option->source,
                    .meaning = std::string(rule.meaning)};
    if (rule.without != Severity::info)
      finding.remedies = {
          newer_kernel("installs a kernel of Debian's that has it"),
          {fmt::format("scripts/config --enable {} && make", rule.name.substr(std::string_view("CONFIG_").size())),
           "in the source of this kernel, then install and boot it",
           "an hour, a reboot, and a kernel of your own to keep"}};
    findings.push_back(std::move(finding));
  }
  if (!there.empty())
    findings.push_back({.severity = Severity::info,
                        .code = "kernel_option",
                        .subject = "kernel",
                        .fact = std::move(there),
                        .source = std::move(source),
                        .meaning = "what is needed of the kernel's options is there, but for those named apart"});
}

void check_privileges(const Case& the_case, Findings& findings) {
  const SystemFacts& system = the_case.system;
  if (!system.has_kernel || !system.may_administer || *system.may_administer) return;
  findings.push_back({.severity = Severity::warning,
                      .code = "permissions",
                      .subject = "user",
                      .fact = "this process has no CAP_SYS_ADMIN",
                      .source = fmt::format("CapEff in {}", the_case.file("proc/self/status")),
                      .meaning =
                          "config space reads only to byte 64, so that ACS and links stay unknown; and p2pmem/allocate "
                          "and the drives' block devices belong to root",
                      .remedies = {{"sudo barter doctor", "shows all of it", "nothing"},
                                   {"sudo chgrp GROUP /sys/bus/pci/devices/BDF/p2pmem/allocate",
                                    "lets a group map that drive's memory until the next boot",
                                    "members can use up the memory and, with a drive's block device, write to it"}}});
}

void check_memlock(const Case& the_case, Findings& findings) {
  const SystemFacts& system = the_case.system;
  if (!system.has_kernel || !system.memlock_bytes || !system.may_lock_memory) return;
  // What VFIO maps for DMA is locked: all queues and buffers of the drives, and the peers' BARs are not counted.
  constexpr std::uint64_t kEnough = std::uint64_t{1} << 30;
  const auto& limit = *system.memlock_bytes;
  const bool is_enough = !limit || *limit >= kEnough || *system.may_lock_memory;
  Finding finding{.severity = is_enough ? Severity::info : Severity::warning,
                  .code = "memlock",
                  .subject = "user",
                  .fact = limit ? fmt::format("this process may lock {} of memory", size_text(*limit))
                                : std::string("this process may lock as much memory as it likes"),
                  .source = fmt::format("Max locked memory in {}, CapEff in {}", the_case.file("proc/self/limits"),
                                        the_case.file("proc/self/status"))};
  if (*system.may_lock_memory && limit) finding.fact += ", and has CAP_IPC_LOCK, so that the limit doesn't count";
  finding.meaning = is_enough
                        ? "enough for buffers that devices reach by DMA"
                        : "memory that VFIO maps for DMA, and buffers registered with io_uring, count against it; "
                          "large transfers will fail for want of memory";
  if (!is_enough)
    finding.remedies = {{"ulimit -l unlimited", "in the shell that starts the program; needs a hard limit as high",
                         "the program can lock all of memory and starve the others"},
                        {"echo 'USER - memlock unlimited' | sudo tee /etc/security/limits.d/memlock.conf",
                         "for that user from the next login on", "that user's programs can lock all of memory"}};
  findings.push_back(std::move(finding));
}

void check_vfio(const Case& the_case, Findings& findings) {
  const SystemFacts& system = the_case.system;
  if (!system.has_kernel || !system.has_vfio || *system.has_vfio) return;
  const KernelOption* option = system.option("CONFIG_VFIO_PCI");
  if (option == nullptr || !option->state || *option->state == OptionState::no) return;  // said already
  findings.push_back(
      {.severity = Severity::info,
       .code = "vfio",
       .subject = "kernel",
       .fact = "VFIO is there, but not loaded",
       .source = the_case.file("dev/vfio/vfio"),
       .meaning = "no device is driven from user space now",
       .remedies = {{"sudo modprobe vfio-pci", "makes it possible; it takes no device by itself", "nothing"}}});
}

}  // namespace barter::doctor
