#include "topology/load_sysfs_nvme.h"

#include <charconv>
#include <limits>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/register.h"
#include "topology/load_sysfs_files.h"

namespace barter::topology::sysfs {
namespace {

// NVM Express base 2.0, 3.1.3.11.
struct MemoryLocation : base::Register<MemoryLocation, 0x38, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 12> offset_units{};
  static constexpr Bits<2, 0, std::uint8_t> bar{};
};
// 3.1.3.12.
struct MemorySize : base::Register<MemorySize, 0x3c, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr std::uint32_t kLastUnit = 6;  // 64 GiB
  static constexpr Bits<31, 12> size_units{};
  static constexpr Bits<11, 8> unit_log16{};  // in powers of 16 from 4 KiB
  static constexpr Bit<4> write_data{};
  static constexpr Bit<3> read_data{};
  static constexpr Bit<2> lists{};
  static constexpr Bit<1> completion_queues{};
  static constexpr Bit<0> submission_queues{};
};

// The kernel writes "cmbloc : x00000002"; take it with 0x, too.
std::optional<std::uint32_t> value_after(std::string_view text, std::string_view key) {
  std::size_t at = text.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  at = text.find('x', at + key.size());
  if (at == std::string_view::npos) return std::nullopt;
  std::uint32_t value = 0;
  const auto [rest, error] = std::from_chars(text.data() + at + 1, text.data() + text.size(), value, 16);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

struct Registers {
  std::uint32_t location = 0;
  std::uint32_t size = 0;
};

Result<std::optional<Registers>> read_registers(const std::filesystem::path& controller) {
  auto both = read_attribute(controller / "cmb");
  if (!both) return fail(std::move(both.error()));
  if (*both) {
    const auto location = value_after(**both, "cmbloc");
    const auto size = value_after(**both, "cmbsz");
    if (!location || !size)
      return fail(
          file_error(ErrorCode::malformed, controller / "cmb", "it doesn't hold 'cmbloc : xN' and 'cmbsz : xN'"));
    return Registers{*location, *size};
  }
  const auto location = read_number(controller / "cmbloc", std::numeric_limits<std::uint32_t>::max());
  if (!location) return fail(location.error());
  const auto size = read_number(controller / "cmbsz", std::numeric_limits<std::uint32_t>::max());
  if (!size) return fail(size.error());
  if (!*location || !*size) return std::nullopt;
  return Registers{static_cast<std::uint32_t>(**location), static_cast<std::uint32_t>(**size)};
}

}  // namespace

Known<std::optional<ControllerMemoryInfo>> decode_controller_memory(std::uint32_t location_raw,
                                                                    std::uint32_t size_raw) {
  const auto location = MemoryLocation::from(location_raw);
  const auto size = MemorySize::from(size_raw);
  if (size.get(MemorySize::size_units) == 0) return std::optional<ControllerMemoryInfo>{};
  const std::uint32_t unit = size.get(MemorySize::unit_log16);
  if (unit > MemorySize::kLastUnit) return Unknown{fmt::format("CMBSZ.SZU holds the reserved unit {}", unit)};
  const std::uint64_t unit_bytes = std::uint64_t{4096} << (4 * unit);
  return std::optional<ControllerMemoryInfo>{{.bar = location.get(MemoryLocation::bar),
                                              .offset_bytes = location.get(MemoryLocation::offset_units) * unit_bytes,
                                              .size_bytes = size.get(MemorySize::size_units) * unit_bytes,
                                              .submission_queues = size.get(MemorySize::submission_queues),
                                              .completion_queues = size.get(MemorySize::completion_queues),
                                              .lists = size.get(MemorySize::lists),
                                              .read_data = size.get(MemorySize::read_data),
                                              .write_data = size.get(MemorySize::write_data)}};
}

Result<Known<std::optional<ControllerMemoryInfo>>> load_controller_memory(const std::filesystem::path& folder) {
  using Answer = Known<std::optional<ControllerMemoryInfo>>;
  const auto controllers = list_folder(folder / "nvme");
  if (!controllers) return fail(controllers.error());
  if (controllers->empty())
    return Answer(Unknown{"the kernel's nvme driver doesn't drive it, and nobody else tells its registers"});
  const std::filesystem::path controller = folder / "nvme" / controllers->front();
  auto registers = read_registers(controller);
  if (!registers) return fail(std::move(registers.error()));
  if (*registers) return Answer(decode_controller_memory((*registers)->location, (*registers)->size));

  const auto published = read_number(folder / "p2pmem" / "size", std::numeric_limits<std::uint64_t>::max());
  if (!published) return fail(published.error());
  if (*published)
    return Answer(
        Unknown{fmt::format("the kernel has {} bytes of its memory, but doesn't say where and for what", **published)});
  return Answer(Unknown{fmt::format("{} has no cmb file: the controller has no memory buffer, or the kernel is old",
                                    controller.string())});
}

}  // namespace barter::topology::sysfs
