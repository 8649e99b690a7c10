#include "drivers/accelerator/links.h"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "drivers/accelerator/device.h"

namespace barter::drivers::accelerator {

Links::Links(Device& device) : device_(device), ports_(device.facts.link_ports) {}

Error Links::error(ErrorCode code, std::uint32_t port, const char* doing, std::string why) const {
  return device_.error(code, fmt::format("{} link {} of the accelerator", doing, port), std::move(why));
}

LinkAddress Links::address(std::uint32_t port, std::uint64_t offset) {
  return {(std::uint64_t{port} + 1) << kLinkAddressShift | offset};
}

Result<Links::State> Links::state(std::uint32_t port) {
  pci::Mmio& registers = *device_.registers;
  const BarOffset place = link_place(port);
  const auto status = read<LinkStatusRegister>(registers, place);
  if (status.raw == 0xffffffff) return fail(error(ErrorCode::device_gone, port, "asking", "it is no longer there"));
  State state{.is_wired = status.get(LinkStatusRegister::wired), .is_up = status.get(LinkStatusRegister::up)};
  if (!state.is_wired) return state;
  state.peer_unit = read<PeerUnitRegister>(registers, place).raw;
  state.peer_port = read<PeerPortRegister>(registers, place).raw;
  state.peer_bytes = read<PeerSize>(registers, place).raw;
  return state;
}

Result<void> Links::enable(std::uint32_t port, bool enabled) {
  write(*device_.registers, LinkControlRegister{}.with(LinkControlRegister::enable, enabled), link_place(port));
  const auto now = read<LinkControlRegister>(*device_.registers, link_place(port));
  if (now.raw == 0xffffffff) return fail(error(ErrorCode::device_gone, port, "enabling", "it is no longer there"));
  if (now.get(LinkControlRegister::enable) == enabled) return {};
  return fail(error(ErrorCode::device_failed, port, "enabling", "LINK_CONTROL does not keep what was written to it"));
}

Result<void> Links::wait_until_down(std::uint32_t port) {
  const bool in_time = device_.wait([&] {
    const auto status = read<LinkStatusRegister>(*device_.registers, link_place(port));
    return status.raw == 0xffffffff || !status.get(LinkStatusRegister::up);
  });
  if (in_time) return {};
  return fail(error(ErrorCode::timed_out, port, "waiting for the end of", "LINK_STATUS still says UP"));
}

Result<std::uint32_t> Links::grant(std::uint32_t port, MemoryRange local, Access access) {
  constexpr const char* kGranting = "granting memory to";
  const std::uint64_t memory = device_.facts.memory_bytes;
  if (local.bytes == 0 || local.offset > memory || local.bytes > memory - local.offset)
    return fail(error(
        ErrorCode::out_of_range, port, kGranting,
        fmt::format("{} bytes from {:#x} on are not in its {} bytes of memory", local.bytes, local.offset, memory)));
  const std::lock_guard lock(mutex_);
  std::bitset<kGrantsOfLink>& used = ports_[port];
  std::uint32_t free = 0;
  while (free < kGrantsOfLink && used[free]) ++free;
  if (free == kGrantsOfLink)
    return fail(
        error(ErrorCode::exhausted, port, kGranting, fmt::format("all {} of its grants are in use", kGrantsOfLink)));
  const auto wanted = GrantSizeRegister{}
                          .with(GrantSizeRegister::write, (static_cast<unsigned>(access) & 2) != 0)
                          .with(GrantSizeRegister::read, (static_cast<unsigned>(access) & 1) != 0)
                          .with(GrantSizeRegister::bytes, local.bytes);
  const BarOffset place = grant_place(port, free);
  write(*device_.registers, GrantStartRegister::from(local.offset), place);
  write(*device_.registers, wanted, place);
  if (const auto now = read<GrantSizeRegister>(*device_.registers, place); now != wanted)
    return fail(error(now.raw == ~std::uint64_t{0} ? ErrorCode::device_gone : ErrorCode::device_failed, port, kGranting,
                      fmt::format("GRANT_SIZE reads {:#x} for {:#x}", now.raw, wanted.raw)));
  used[free] = true;
  return free;
}

Result<void> Links::revoke(std::uint32_t port, std::uint32_t grant) {
  const BarOffset place = grant_place(port, grant);
  const std::lock_guard lock(mutex_);
  write(*device_.registers, GrantSizeRegister{}, place);
  GrantSizeRegister now;
  const bool in_time = device_.wait([&] {
    now = read<GrantSizeRegister>(*device_.registers, place);
    return now.raw == 0 || now.raw == ~std::uint64_t{0};
  });
  // One that does not close is not used again.
  if (!in_time)
    return fail(error(ErrorCode::device_failed, port, "taking memory back from",
                      fmt::format("GRANT_SIZE still reads {:#x}", now.raw)));
  ports_[port][grant] = false;
  return {};
}

std::uint32_t Links::granted(std::uint32_t port) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::uint32_t>(ports_[port].count());
}

Links::Traffic Links::traffic(std::uint32_t port) {
  return {.read_bytes = read<LinkReadCounter>(*device_.registers, link_place(port)).raw,
          .written_bytes = read<LinkWrittenCounter>(*device_.registers, link_place(port)).raw};
}

}  // namespace barter::drivers::accelerator
