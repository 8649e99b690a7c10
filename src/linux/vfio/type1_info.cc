#include "linux/vfio/type1_info.h"

#include "linux/vfio/capability_chain.h"

namespace barter::linux_os::vfio {

std::expected<Type1Info, std::string> parse_type1_info(std::span<const std::byte> answer) {
  struct vfio_iommu_type1_info fixed{};
  if (!read_at(answer, 0, fixed)) return std::unexpected("the answer is too short");
  Type1Info info;
  info.page_sizes = (fixed.flags & VFIO_IOMMU_INFO_PGSIZES) != 0 ? fixed.iova_pgsizes : 0;
  bool is_listed = false;
  const auto visit = [&](std::uint16_t id, std::size_t at) {
    if (id != VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) return true;
    struct vfio_iommu_type1_info_cap_iova_range ranges;  // no initialiser: see region_info.cc
    if (!read_at(answer, at, ranges)) return false;
    is_listed = true;
    for (std::uint32_t index = 0; index < ranges.nr_iovas; ++index) {
      struct vfio_iova_range range{};
      if (!read_at(answer, at + sizeof ranges + index * sizeof range, range) || range.start > range.end) return false;
      info.usable.push_back({range.start, range.end});
    }
    return true;
  };
  if ((fixed.flags & VFIO_IOMMU_INFO_CAPS) != 0)
    if (auto walked = walk_capabilities(answer, fixed.cap_offset, visit); !walked)
      return std::unexpected(walked.error());
  if (!is_listed) info.usable.push_back({0, ~std::uint64_t{0}});
  return info;
}

}  // namespace barter::linux_os::vfio
