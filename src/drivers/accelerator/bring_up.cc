#include <bit>
#include <utility>

#include <fmt/format.h>

#include "drivers/accelerator/device.h"
#include "drivers/accelerator/links.h"
#include "drivers/command_register.h"
#include "pci/class_code.h"
#include "pci/config_header.h"

namespace barter::drivers::accelerator {
namespace {

constexpr std::string_view kBringUp = "bringing up the accelerator";
constexpr std::uint64_t kMaxMemoryBytes = std::uint64_t{1} << 52;  // what page table entries can name
constexpr unsigned kMaxRingLog2 = 15;

Error gone(const Device& device) {
  return device.error(ErrorCode::device_gone, kBringUp, "it is not there: its registers read as all ones",
                      "check that it is powered and its link is up");
}

// Every wait for READY is bounded; a device that leaves or reports a fatal error ends it.
Result<void> wait_ready(Device& device, bool ready) {
  StatusRegister status;
  const bool in_time = device.wait([&] {
    status = read<StatusRegister>(*device.registers);
    return status.is_gone() || status.get(StatusRegister::ready) == ready ||
           (ready && status.get(StatusRegister::fatal));
  });
  if (in_time && !status.is_gone() && status.get(StatusRegister::ready) == ready &&
      !(ready && status.get(StatusRegister::fatal)))
    return {};
  return fail(device.silence(ready ? "enabling the accelerator" : "disabling the accelerator",
                             fmt::format("STATUS.READY should be {:d}", ready)));
}

// What is left of an earlier user: nobody reaches anything by a link before it is granted anew.
void close_links(Device& device) {
  for (std::uint32_t port = 0; port < device.facts.link_ports; ++port) {
    write(*device.registers, LinkControlRegister{}, link_place(port));
    for (std::uint32_t grant = 0; grant < kGrantsOfLink; ++grant)
      write(*device.registers, GrantSizeRegister{}, grant_place(port, grant));
  }
}

}  // namespace

Error Device::error(ErrorCode code, std::string_view doing, std::string why, std::string cure) const {
  return {.code = code, .doing = std::string(doing), .subject = name, .why = std::move(why), .cure = std::move(cure)};
}

Error Device::silence(std::string_view doing, std::string known) const {
  const auto status = read<StatusRegister>(*registers);
  if (status.is_gone())
    return error(ErrorCode::device_gone, doing, "the accelerator is no longer there: its registers read as all ones");
  const std::string state = fmt::format("STATUS is {:#x}; {}", status.raw, known);
  if (status.get(StatusRegister::fatal))
    return error(ErrorCode::device_failed, doing, "it reports a fatal error: " + state, "reset it");
  return error(ErrorCode::timed_out, doing, "it has not answered in time: " + state, "give it more time, or reset it");
}

Result<void> open_function(Device& device) {
  auto id = device.function->read_config(pci::VendorId::kOffset, 4);
  if (!id) return fail(std::move(id.error()));
  if (*id == 0xffffffff) return fail(gone(device));
  auto revision = device.function->read_config(pci::ClassRevision::kOffset, 4);
  if (!revision) return fail(std::move(revision.error()));
  const auto class_code = pci::ClassRevision::from(*revision).get(pci::ClassRevision::class_code);
  if (class_code != pci::kClassProcessingAccelerator)
    return fail(device.error(ErrorCode::unsupported, kBringUp,
                             fmt::format("its class code is {:06x}, and a processing accelerator's is {:06x}",
                                         class_code, pci::kClassProcessingAccelerator)));
  if (auto on = turn_on(*device.function); !on) return on;
  auto registers = device.function->map_bar(kRegisterBar);
  if (!registers) return fail(std::move(registers.error()));
  device.registers = std::move(*registers);
  if (const auto size = device.registers->size_bytes(); size < kRegisterBytes)
    return fail(device.error(ErrorCode::device_failed, kBringUp,
                             fmt::format("BAR 0 has {} bytes, and the registers take {}", size, kRegisterBytes)));
  auto memory = device.function->map_bar(kMemoryBar);
  if (!memory) return fail(std::move(memory.error()));
  device.memory = std::move(*memory);
  return {};
}

Result<void> read_facts(Device& device) {
  pci::Mmio& registers = *device.registers;
  const auto identity = read<IdentityRegister>(registers);
  if (identity.raw == 0xffffffff) return fail(gone(device));
  if (identity.raw != kIdentity)
    return fail(device.error(
        ErrorCode::unsupported, kBringUp,
        fmt::format("IDENTITY is {:#010x}, which no accelerator that this driver knows has", identity.raw)));
  const auto version = read<VersionRegister>(registers);
  if (version.get(VersionRegister::major) != 1)
    return fail(device.error(ErrorCode::unsupported, kBringUp,
                             fmt::format("it speaks version {}.{}, and the driver 1",
                                         version.get(VersionRegister::major), version.get(VersionRegister::minor))));
  AcceleratorFacts& facts = device.facts;
  facts.memory_bytes = read<MemorySize>(registers).raw;
  facts.window_bytes = read<WindowSize>(registers).raw;
  const auto engines = read<EngineCounts>(registers);
  facts.copy_channels = engines.get(EngineCounts::copy_channels);
  facts.compute_channels = engines.get(EngineCounts::compute_channels);
  const unsigned ring_log2 = engines.get(EngineCounts::longest_ring_log2);
  const auto lie = [&](std::string why) {
    return fail(device.error(ErrorCode::device_failed, kBringUp, std::move(why)));
  };
  if (facts.memory_bytes == 0 || facts.memory_bytes % kUnitBytes != 0 || facts.memory_bytes > kMaxMemoryBytes)
    return lie(fmt::format("it claims a memory of {} bytes", facts.memory_bytes));
  if (facts.window_bytes != device.memory->size_bytes())
    return lie(fmt::format("it claims a window of {} bytes, and BAR 2 has {}", facts.window_bytes,
                           device.memory->size_bytes()));
  if (!std::has_single_bit(facts.window_bytes) || facts.window_bytes < kUnitBytes)
    return lie(fmt::format("its window has {} bytes, which is no power of two from 64 KiB", facts.window_bytes));
  if (facts.copy_channels + facts.compute_channels == 0 || facts.copy_channels + facts.compute_channels > kMostChannels)
    return lie(fmt::format("it claims {} copy and {} compute channels", facts.copy_channels, facts.compute_channels));
  if (ring_log2 == 0 || ring_log2 > kMaxRingLog2) return lie(fmt::format("it claims rings of 2^{} entries", ring_log2));
  facts.max_ring_entries = 1u << ring_log2;
  facts.link_ports = read<LinkPortCount>(registers).get(LinkPortCount::ports);
  if (facts.link_ports > kMostLinks) return lie(fmt::format("it claims {} links", facts.link_ports));
  if (facts.link_ports != 0 && facts.memory_bytes > std::uint64_t{1} << kLinkAddressShift)
    return lie(
        fmt::format("it claims links and a memory of {} bytes, which their addresses can't name", facts.memory_bytes));
  // Older ones have no such register.
  if (facts.link_ports != 0) facts.unit = read<UnitRegister>(registers).raw;
  device.control_offset = std::min(facts.window_bytes, facts.memory_bytes) - kUnitBytes;
  return {};
}

Result<void> disable(Device& device) {
  if (read<StatusRegister>(*device.registers).is_gone()) return fail(gone(device));
  write(*device.registers, ControlRegister{});
  return wait_ready(device, false);
}

Result<void> enable(Device& device) {
  write(*device.registers, WindowBaseRegister{});
  device.window_base = 0;
  write(*device.registers, TableRootRegister{});
  close_links(device);
  write(*device.registers, ControlRegister{}.with(ControlRegister::enable, true));
  return wait_ready(device, true);
}

void stop_dma(Device& device) {
  if (disable(device)) return;
  // It is gone, or hangs. Without Bus Master Enable it can't start a request; if even that fails, it is not there.
  (void)take_bus_mastering(*device.function);
}

}  // namespace barter::drivers::accelerator
