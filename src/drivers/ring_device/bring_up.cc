#include <utility>

#include <fmt/format.h>

#include "drivers/command_register.h"
#include "drivers/ring_device/device.h"
#include "pci/config_header.h"

namespace barter::drivers::ring_device {
namespace {

constexpr unsigned kMaxRingLog2 = 15;

Error gone(const Device& device) {
  return device.bring_up_error(ErrorCode::device_gone, "it is not there: its registers read as all ones",
                               "check that it is powered and its link is up");
}

// Every wait for READY is bounded; a device that leaves, or reports a fatal error when it is enabled, ends it.
Result<void> set_enable(Device& device, bool on) {
  device.registers->store32({device.kind.control}, ControlBits{}.with(ControlBits::enable, on).raw);
  StatusBits status;
  const bool in_time = device.wait([&] {
    status = device.status();
    return status.is_gone() || status.get(StatusBits::ready) == on || (on && status.get(StatusBits::fatal));
  });
  const bool is_fatal = on && status.get(StatusBits::fatal);
  if (in_time && !status.is_gone() && status.get(StatusBits::ready) == on && !is_fatal) return {};
  return fail(device.silence(fmt::format("{} the {}", on ? "enabling" : "disabling", device.kind.name),
                             fmt::format("STATUS.READY should be {:d}", on)));
}

}  // namespace

Device::Device(const DeviceKind& its_kind, std::unique_ptr<pci::Function> its_function, const Options& its_options)
    : kind(its_kind), function(std::move(its_function)), options(its_options), name(function->bdf().to_string()) {}

Error Device::error(ErrorCode code, std::string_view doing, std::string why, std::string cure) const {
  return {.code = code, .doing = std::string(doing), .subject = name, .why = std::move(why), .cure = std::move(cure)};
}

Error Device::bring_up_error(ErrorCode code, std::string why, std::string cure) const {
  return error(code, fmt::format("bringing up the {}", kind.name), std::move(why), std::move(cure));
}

Error Device::silence(std::string_view doing, std::string known) const {
  const StatusBits now = status();
  if (now.is_gone())
    return error(ErrorCode::device_gone, doing,
                 fmt::format("the {} is no longer there: its registers read as all ones", kind.name));
  const std::string state = fmt::format("STATUS is {:#x}; {}", now.raw, known);
  if (now.get(StatusBits::fatal))
    return error(ErrorCode::device_failed, doing, "it reports a fatal error: " + state, "reset it");
  return error(ErrorCode::timed_out, doing, "it has not answered in time: " + state, "give it more time, or reset it");
}

Result<void> open_function(Device& device) {
  const DeviceKind& kind = device.kind;
  auto id = device.function->read_config(pci::VendorId::kOffset, 4);
  if (!id) return fail(std::move(id.error()));
  if (*id == 0xffffffff) return fail(gone(device));
  auto revision = device.function->read_config(pci::ClassRevision::kOffset, 4);
  if (!revision) return fail(std::move(revision.error()));
  const auto class_code = pci::ClassRevision::from(*revision).get(pci::ClassRevision::class_code);
  if (class_code != kind.class_code)
    return fail(device.bring_up_error(
        ErrorCode::unsupported,
        fmt::format("its class code is {:06x}, and {}'s is {:06x}", class_code, kind.class_name, kind.class_code)));
  if (auto on = turn_on(*device.function); !on) return on;
  auto registers = device.function->map_bar(kRegisterBar);
  if (!registers) return fail(std::move(registers.error()));
  if (const auto size = (*registers)->size_bytes(); size < kind.register_bytes)
    return fail(device.lie(fmt::format("BAR 0 has {} bytes, and the registers take {}", size, kind.register_bytes)));
  device.registers = std::move(*registers);
  return {};
}

Result<void> check_identity(Device& device) {
  const auto identity = read<IdentityRegister>(*device.registers);
  if (identity.raw == 0xffffffff) return fail(gone(device));
  if (identity.raw != device.kind.identity)
    return fail(device.bring_up_error(
        ErrorCode::unsupported,
        fmt::format("IDENTITY is {:#010x}, which no {} that this driver knows has", identity.raw, device.kind.name)));
  const auto version = read<VersionRegister>(*device.registers);
  if (version.get(VersionRegister::major) == 1) return {};
  return fail(device.bring_up_error(
      ErrorCode::unsupported, fmt::format("it speaks version {}.{}, and the driver 1",
                                          version.get(VersionRegister::major), version.get(VersionRegister::minor))));
}

Result<std::uint32_t> longest_ring(const Device& device, unsigned claimed_log2) {
  if (claimed_log2 == 0 || claimed_log2 > kMaxRingLog2)
    return fail(device.lie(fmt::format("it claims rings of 2^{} entries", claimed_log2)));
  return std::uint32_t{1} << claimed_log2;
}

Result<void> check_presence(const Device& device) {
  if (device.status().is_gone()) return fail(gone(device));
  return {};
}

Result<void> reset(Device& device) {
  if (auto there = check_presence(device); !there) return there;
  const BarOffset at{device.kind.control};
  device.registers->store32(at, ControlBits{}.with(ControlBits::reset, true).raw);
  ControlBits control;
  const bool in_time = device.wait([&] {
    control = ControlBits::from(device.registers->load32(at));
    return control.is_gone() || !control.get(ControlBits::reset);
  });
  if (in_time && !control.is_gone() && !device.status().get(StatusBits::ready)) return {};
  return fail(
      device.silence(fmt::format("resetting the {}", device.kind.name), fmt::format("CONTROL is {:#x}", control.raw)));
}

Result<void> disable(Device& device) { return set_enable(device, false); }
Result<void> enable(Device& device) { return set_enable(device, true); }

void stop_dma(Device& device) {
  if (!device.registers || disable(device)) return;
  // It is gone, or hangs. Without Bus Master Enable it can't start a request; if even that fails, it is not there.
  (void)take_bus_mastering(*device.function);
}

}  // namespace barter::drivers::ring_device
