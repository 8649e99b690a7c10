// What the kernel answers is taken apart byte by byte here: true answers, and every kind of lie.
#include "linux/vfio/capability_chain.h"

#include <vector>

#include <gtest/gtest.h>

#include "linux/vfio/region_info.h"
#include "linux/vfio/type1_info.h"

namespace barter::linux_os::vfio {
namespace {

template <class T>
void put(std::vector<std::byte>& bytes, std::size_t at, const T& value) {
  if (bytes.size() < at + sizeof value) bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

std::vector<std::byte> type1_answer(std::vector<vfio_iova_range> ranges, std::uint32_t claimed,
                                    std::uint32_t next = 0) {
  std::vector<std::byte> bytes;
  put(bytes, 0,
      vfio_iommu_type1_info{.argsz = 0,
                            .flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
                            .iova_pgsizes = 0x40201000,
                            .cap_offset = 32});
  struct vfio_iommu_type1_info_cap_iova_range fixed;
  fixed.header = {.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, .version = 1, .next = next};
  fixed.nr_iovas = claimed;
  fixed.reserved = 0;
  put(bytes, 32, fixed);
  for (std::size_t index = 0; index < ranges.size(); ++index)
    put(bytes, 32 + sizeof fixed + index * sizeof ranges[0], ranges[index]);
  return bytes;
}

TEST(Type1Info, ListsWhatIsUsable) {
  const auto info = parse_type1_info(type1_answer({{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}}, 2));
  ASSERT_TRUE(info) << info.error();
  EXPECT_EQ(info->page_sizes, 0x40201000u);
  ASSERT_EQ(info->usable.size(), 2u);
  EXPECT_EQ(info->usable[1].last, 0x7fffffffffu);
}

TEST(Type1Info, WithoutAListEverythingIsUsable) {
  std::vector<std::byte> bytes;
  put(bytes, 0, vfio_iommu_type1_info{.argsz = 0, .flags = VFIO_IOMMU_INFO_PGSIZES, .iova_pgsizes = 0x1000});
  const auto info = parse_type1_info(bytes);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->usable.front().last, ~std::uint64_t{0});
}

TEST(Type1Info, LiesAreErrors) {
  EXPECT_FALSE(parse_type1_info({}));
  EXPECT_FALSE(parse_type1_info(type1_answer({{0, 0xffff}}, 2)));
  EXPECT_FALSE(parse_type1_info(type1_answer({{0, 0xffff}}, 0xffffffff)));
  EXPECT_FALSE(parse_type1_info(type1_answer({{2, 1}}, 1)));
  EXPECT_FALSE(parse_type1_info(type1_answer({{0, 1}}, 1, 32)));
  EXPECT_FALSE(parse_type1_info(type1_answer({{0, 1}}, 1, 8)));
  EXPECT_FALSE(parse_type1_info(type1_answer({{0, 1}}, 1, 0x10000)));
}

std::vector<std::byte> region_answer(std::uint64_t size, std::vector<vfio_region_sparse_mmap_area> areas,
                                     std::uint32_t claimed) {
  std::vector<std::byte> bytes;
  put(bytes, 0,
      vfio_region_info{.argsz = 0,
                       .flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE | VFIO_REGION_INFO_FLAG_MMAP |
                                VFIO_REGION_INFO_FLAG_CAPS,
                       .index = 0,
                       .cap_offset = 32,
                       .size = size,
                       .offset = 0x10000000000});
  struct vfio_region_info_cap_sparse_mmap fixed;
  fixed.header = {.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .version = 1, .next = 0};
  fixed.nr_areas = claimed;
  fixed.reserved = 0;
  put(bytes, 32, fixed);
  for (std::size_t index = 0; index < areas.size(); ++index)
    put(bytes, 32 + sizeof fixed + index * sizeof areas[0], areas[index]);
  return bytes;
}

TEST(RegionInfo, MapsAroundAnMsixTable) {
  const auto info = parse_region_info(region_answer(0x4000, {{0x3000, 0x1000}, {0, 0x2000}}, 2));
  ASSERT_TRUE(info) << info.error();
  ASSERT_EQ(info->mappable.size(), 2u);
  EXPECT_EQ(info->mappable[0].bytes, 0x2000u);
  EXPECT_EQ(info->mappable[1].offset_bytes, 0x3000u);
}

TEST(RegionInfo, MapsAllOfItWhereTheTableMayBeMapped) {
  auto bytes = region_answer(0x4800, {}, 0);
  put(bytes, 32, vfio_info_cap_header{.id = VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, .version = 1, .next = 0});
  const auto info = parse_region_info(bytes);
  ASSERT_TRUE(info);
  ASSERT_EQ(info->mappable.size(), 1u);
  EXPECT_EQ(info->mappable[0].bytes, 0x4000u);  // the rest is no whole page
}

TEST(RegionInfo, LiesAreErrors) {
  EXPECT_FALSE(parse_region_info({}));
  EXPECT_FALSE(parse_region_info(region_answer(0x4000, {{0x4000, 0x1000}}, 1)));
  EXPECT_FALSE(parse_region_info(region_answer(0x4000, {{0x100, 0x1000}}, 1)));
  EXPECT_FALSE(parse_region_info(region_answer(0x4000, {{0, ~std::uint64_t{0xfff}}}, 1)));
  EXPECT_FALSE(parse_region_info(region_answer(0x4000, {{0, 0x2000}, {0x1000, 0x1000}}, 2)));
  EXPECT_FALSE(parse_region_info(region_answer(0x4000, {}, 1000)));
  EXPECT_FALSE(parse_region_info(region_answer(~std::uint64_t{0}, {}, 0)));
}

}  // namespace
}  // namespace barter::linux_os::vfio
