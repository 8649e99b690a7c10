#include "drivers/nvme/cmb.h"

#include <utility>

#include <fmt/format.h>

namespace barter::drivers::nvme {
namespace {

constexpr std::string_view kEnabling = "enabling the controller memory buffer of";
constexpr std::uint32_t kLastUnit = 6;  // 64 GiB; larger codes are reserved

Error lie(const Device& device, std::string why) {
  return device.error(ErrorCode::device_failed, kEnabling, std::move(why), "use the drive without its memory buffer");
}

// From NVMe 1.4 on, CAP says that there is a CMB, and it is hidden until CMBMSC.CRE is set. Before, CMBSZ alone says
// it, and there is no CMBMSC.
bool is_announced(const Device& device) { return device.capabilities.get(Capabilities::controller_memory_buffer); }
bool is_of_old(const Device& device) {
  return !is_announced(device) && device.version.raw >= version_number(1, 2) &&
         device.version.raw < version_number(1, 4);
}

Result<ControllerMemoryInfo> read_info(const Device& device, MemoryBufferSize size) {
  using L = MemoryBufferLocation;
  using S = MemoryBufferSize;
  const auto location = read<MemoryBufferLocation>(*device.registers);
  const std::uint32_t unit = size.get(S::unit_log16_4kib);
  const std::uint32_t bar = location.get(L::bar);
  if (unit > kLastUnit)
    return fail(lie(device, fmt::format("CMBSZ is {:#010x}, and unit {} is reserved", size.raw, unit)));
  if (bar == 1 || bar > 5)
    return fail(lie(device, fmt::format("CMBLOC is {:#010x}, and a CMB can't lie in BAR {}", location.raw, bar)));
  // 20 bits of units of at most 2^36 bytes: neither product leaves 64 bits.
  const unsigned unit_log2 = 12 + 4 * unit;
  return ControllerMemoryInfo{.bar = static_cast<std::uint8_t>(bar),
                              .offset_bytes = std::uint64_t{location.get(L::offset_units)} << unit_log2,
                              .size_bytes = std::uint64_t{size.get(S::size_units)} << unit_log2,
                              .submission_queues = size.get(S::submission_queues),
                              .completion_queues = size.get(S::completion_queues),
                              .lists = size.get(S::lists),
                              .read_data = size.get(S::read_data),
                              .write_data = size.get(S::write_data)};
}

// Tells the controller which addresses in commands mean its CMB: those at which the bus finds it.
Result<void> place(Device& device, BusAddress address) {
  using C = MemoryBufferControl;
  write(*device.registers, C{}.with(C::base_address_4kib, address.value >> 12)
                               .with(C::memory_space_enable, true)
                               .with(C::registers_enable, true));
  // Reading the status back pushes the posted write through.
  if (read<MemoryBufferStatus>(*device.registers).get(MemoryBufferStatus::base_address_invalid))
    return fail(lie(device, fmt::format("the controller refuses {:#x}, where its BAR lies, as the CMB's address "
                                        "(CMBSTS.CBAI)",
                                        address.value)));
  return {};
}

}  // namespace

Result<std::optional<MemoryBuffer>> enable_memory_buffer(Device& device) {
  if (!is_announced(device) && !is_of_old(device)) return std::nullopt;
  if (is_announced(device))
    write(*device.registers, MemoryBufferControl{}.with(MemoryBufferControl::registers_enable, true));
  const auto size = read<MemoryBufferSize>(*device.registers);
  if (size.get(MemoryBufferSize::size_units) == 0) return std::nullopt;
  if (size.raw == ~std::uint32_t{0})
    return fail(read<Status>(*device.registers).is_gone() ? device.silence(kEnabling, {})
                                                          : lie(device, "CMBSZ is all ones"));

  auto info = read_info(device, size);
  if (!info) return fail(std::move(info.error()));
  auto bar = device.function->map_bar(info->bar);
  if (!bar) return fail(std::move(bar.error()));
  const std::uint64_t bar_bytes = (*bar)->size_bytes();
  if (info->offset_bytes > bar_bytes || info->size_bytes > bar_bytes - info->offset_bytes)
    return fail(lie(device, fmt::format("it claims {:#x} bytes at {:#x} of BAR {}, which has {:#x} bytes",
                                        info->size_bytes, info->offset_bytes, info->bar, bar_bytes)));
  MemoryBuffer buffer{.info = *info, .bar = std::move(*bar)};
  buffer.address = buffer.bar->bus_address() + info->offset_bytes;
  if (is_announced(device))
    if (auto placed = place(device, buffer.address); !placed) return fail(std::move(placed.error()));
  buffer.bytes = buffer.bar->memory({info->offset_bytes}, info->size_bytes);
  return buffer;
}

}  // namespace barter::drivers::nvme
