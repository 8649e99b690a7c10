#include <utility>

#include <fmt/format.h>

#include "drivers/command_register.h"
#include "drivers/dma_engine/device.h"
#include "pci/config_header.h"

namespace barter::drivers::dma_engine {
namespace {

constexpr std::string_view kBringUp = "bringing up the DMA engine";
constexpr unsigned kMaxRingLog2 = 15;
constexpr std::uint64_t kMaxTransferBytes = std::uint64_t{1} << 62;

Error gone(const Device& device) {
  return device.error(ErrorCode::device_gone, kBringUp, "it is not there: its registers read as all ones",
                      "check that it is powered and its link is up");
}

Result<void> wait_ready(Device& device, bool ready) {
  StatusRegister status;
  const bool in_time = device.wait([&] {
    status = read<StatusRegister>(*device.registers);
    return status.is_gone() || status.get(StatusRegister::ready) == ready || status.get(StatusRegister::fatal);
  });
  const bool is_fatal = ready && status.get(StatusRegister::fatal);
  if (in_time && !status.is_gone() && status.get(StatusRegister::ready) == ready && !is_fatal) return {};
  return fail(device.silence(ready ? "enabling the DMA engine" : "disabling the DMA engine",
                             fmt::format("STATUS.READY should be {:d}", ready)));
}

}  // namespace

Error Device::error(ErrorCode code, std::string_view doing, std::string why, std::string cure) const {
  return {.code = code, .doing = std::string(doing), .subject = name, .why = std::move(why), .cure = std::move(cure)};
}

Error Device::silence(std::string_view doing, std::string known) const {
  const auto status = read<StatusRegister>(*registers);
  if (status.is_gone())
    return error(ErrorCode::device_gone, doing, "the DMA engine is no longer there: its registers read as all ones");
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
  if (class_code != kClassCode)
    return fail(
        device.error(ErrorCode::unsupported, kBringUp,
                     fmt::format("its class code is {:06x}, and a DMA engine's is {:06x}", class_code, kClassCode)));
  if (auto on = turn_on(*device.function); !on) return on;
  auto registers = device.function->map_bar(kRegisterBar);
  if (!registers) return fail(std::move(registers.error()));
  device.registers = std::move(*registers);
  if (const auto size = device.registers->size_bytes(); size < kRegisterBytes)
    return fail(device.error(ErrorCode::device_failed, kBringUp,
                             fmt::format("BAR 0 has {} bytes, and the registers take {}", size, kRegisterBytes)));
  return {};
}

Result<void> read_facts(Device& device) {
  pci::Mmio& registers = *device.registers;
  const auto identity = read<IdentityRegister>(registers);
  if (identity.raw == 0xffffffff) return fail(gone(device));
  if (identity.raw != kIdentity)
    return fail(device.error(
        ErrorCode::unsupported, kBringUp,
        fmt::format("IDENTITY is {:#010x}, which no DMA engine that this driver knows has", identity.raw)));
  const auto version = read<VersionRegister>(registers);
  if (version.get(VersionRegister::major) != 1)
    return fail(device.error(ErrorCode::unsupported, kBringUp,
                             fmt::format("it speaks version {}.{}, and the driver 1",
                                         version.get(VersionRegister::major), version.get(VersionRegister::minor))));
  const auto counts = read<ChannelCounts>(registers);
  const unsigned ring_log2 = counts.get(ChannelCounts::longest_ring_log2);
  EngineFacts& facts = device.facts;
  facts.channels = counts.get(ChannelCounts::channels);
  facts.max_segments = read<LongestList>(registers).get(LongestList::segments);
  facts.max_transfer_bytes = read<LargestTransfer>(registers).raw;
  const auto lie = [&](std::string why) {
    return fail(device.error(ErrorCode::device_failed, kBringUp, std::move(why)));
  };
  if (facts.channels == 0 || facts.channels > kMostChannels)
    return lie(fmt::format("it claims {} channels", facts.channels));
  if (ring_log2 == 0 || ring_log2 > kMaxRingLog2) return lie(fmt::format("it claims rings of 2^{} entries", ring_log2));
  if (facts.max_segments == 0) return lie("it claims to take lists of no segments");
  if (facts.max_transfer_bytes == 0 || facts.max_transfer_bytes > kMaxTransferBytes)
    return lie(fmt::format("it claims to move {} bytes at once", facts.max_transfer_bytes));
  facts.max_ring_entries = 1u << ring_log2;
  return {};
}

Result<void> reset(Device& device) {
  if (read<StatusRegister>(*device.registers).is_gone()) return fail(gone(device));
  write(*device.registers, ControlRegister{}.with(ControlRegister::reset, true));
  ControlRegister control;
  const bool in_time = device.wait([&] {
    control = read<ControlRegister>(*device.registers);
    return control.is_gone() || !control.get(ControlRegister::reset);
  });
  if (in_time && !control.is_gone() && !read<StatusRegister>(*device.registers).get(StatusRegister::ready)) return {};
  return fail(device.silence("resetting the DMA engine", fmt::format("CONTROL is {:#x}", control.raw)));
}

Result<void> enable(Device& device) {
  write(*device.registers, ControlRegister{}.with(ControlRegister::enable, true));
  return wait_ready(device, true);
}

void stop_dma(Device& device) {
  write(*device.registers, ControlRegister{});
  if (wait_ready(device, false)) return;
  // It is gone, or hangs. Without Bus Master Enable it can't start a request; if even that fails, it is not there.
  (void)take_bus_mastering(*device.function);
}

}  // namespace barter::drivers::dma_engine
