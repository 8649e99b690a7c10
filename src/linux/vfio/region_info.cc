#include "linux/vfio/region_info.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "linux/system_error.h"
#include "linux/vfio/capability_chain.h"
#include "linux/vfio/group.h"

namespace barter::linux_os::vfio {
namespace {

constexpr std::uint32_t kMaxRegionInfoBytes = 64 << 10;  // far above what a kernel answers

bool is_usable(const RegionArea& area, std::uint64_t region_bytes) {
  return area.offset_bytes % kPageBytes == 0 && area.bytes % kPageBytes == 0 && area.offset_bytes <= region_bytes &&
         area.bytes <= region_bytes - area.offset_bytes;
}

bool read_areas(std::span<const std::byte> answer, std::size_t at, RegionInfo& info) {
  struct vfio_region_info_cap_sparse_mmap sparse;  // no initialiser: clang takes its open array for an extension then
  if (!read_at(answer, at, sparse)) return false;
  info.mappable.clear();
  for (std::uint32_t index = 0; index < sparse.nr_areas; ++index) {
    struct vfio_region_sparse_mmap_area area{};
    if (!read_at(answer, at + sizeof sparse + index * sizeof area, area)) return false;
    const RegionArea found{area.offset, area.size};
    if (!is_usable(found, info.size_bytes)) return false;
    if (found.bytes != 0) info.mappable.push_back(found);
  }
  std::ranges::sort(info.mappable, {}, &RegionArea::offset_bytes);
  for (std::size_t index = 1; index < info.mappable.size(); ++index)
    if (info.mappable[index].offset_bytes - info.mappable[index - 1].offset_bytes < info.mappable[index - 1].bytes)
      return false;
  return true;
}

}  // namespace

std::expected<RegionInfo, std::string> parse_region_info(std::span<const std::byte> answer) {
  struct vfio_region_info fixed{};
  if (!read_at(answer, 0, fixed)) return std::unexpected("the answer is too short");
  RegionInfo info{.size_bytes = fixed.size,
                  .file_offset_bytes = fixed.offset,
                  .is_readable = (fixed.flags & VFIO_REGION_INFO_FLAG_READ) != 0,
                  .is_writable = (fixed.flags & VFIO_REGION_INFO_FLAG_WRITE) != 0};
  if (info.size_bytes > ~std::uint64_t{0} - info.file_offset_bytes)
    return std::unexpected(fmt::format("a region of {:#x} bytes at {:#x}", info.size_bytes, info.file_offset_bytes));
  if ((fixed.flags & VFIO_REGION_INFO_FLAG_MMAP) == 0) return info;
  // All of it, unless the list says otherwise. A last part of a page can't be mapped.
  info.mappable.push_back({0, info.size_bytes / kPageBytes * kPageBytes});
  if ((fixed.flags & VFIO_REGION_INFO_FLAG_CAPS) != 0) {
    const auto visit = [&](std::uint16_t id, std::size_t at) {
      return id != VFIO_REGION_INFO_CAP_SPARSE_MMAP || read_areas(answer, at, info);
    };
    if (auto walked = walk_capabilities(answer, fixed.cap_offset, visit); !walked)
      return std::unexpected(walked.error());
  }
  std::erase_if(info.mappable, [](const RegionArea& area) { return area.bytes == 0; });
  return info;
}

Result<RegionInfo> read_region_info(const Descriptor& device, const std::string& name, unsigned index) {
  const std::string doing = fmt::format("asking for region {} of", index);
  std::vector<std::byte> answer(sizeof(struct vfio_region_info));
  for (int round = 0; round < 2; ++round) {
    struct vfio_region_info fixed{};
    fixed.argsz = static_cast<std::uint32_t>(answer.size());
    fixed.index = index;
    std::memcpy(answer.data(), &fixed, sizeof fixed);
    if (ioctl(device.number(), VFIO_DEVICE_GET_REGION_INFO, answer.data()) != 0)
      return fail(system_error(errno, doing, name));
    std::memcpy(&fixed, answer.data(), sizeof fixed);
    if (fixed.argsz <= answer.size()) break;
    if (fixed.argsz > kMaxRegionInfoBytes)
      return fail({.code = ErrorCode::malformed,
                   .doing = doing,
                   .subject = name,
                   .why = fmt::format("the kernel's answer would have {} bytes", fixed.argsz)});
    answer.resize(fixed.argsz);
  }
  auto info = parse_region_info(answer);
  if (info) return *std::move(info);
  return fail({.code = ErrorCode::malformed, .doing = doing, .subject = name, .why = info.error()});
}

}  // namespace barter::linux_os::vfio
