// What VFIO_DEVICE_GET_REGION_INFO answers of one region: where it lies in the device's file and which parts of it can be
// mapped. parse_region_info is pure and takes nothing on trust.
#pragma once
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "barter/result.hpp"
#include "linux/descriptor.h"

namespace barter::linux_os::vfio {

struct RegionArea {
  std::uint64_t offset_bytes = 0;  // within the region
  std::uint64_t bytes = 0;
};

struct RegionInfo {
  std::uint64_t size_bytes = 0;  // 0: the function has no such region
  std::uint64_t file_offset_bytes = 0;
  bool is_readable = false;
  bool is_writable = false;
  std::vector<RegionArea> mappable;  // in order, whole pages; empty: by read and write alone
};

// A kernel that does not let the MSI-X table be mapped lists what lies around it; one that does says so and lists nothing.
[[nodiscard]] std::expected<RegionInfo, std::string> parse_region_info(std::span<const std::byte> answer);

[[nodiscard]] Result<RegionInfo> read_region_info(const Descriptor& device, const std::string& name, unsigned index);

}  // namespace barter::linux_os::vfio
