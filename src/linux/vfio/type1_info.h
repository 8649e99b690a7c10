// What VFIO_IOMMU_GET_INFO answers: the chain of capabilities behind the fixed part. Pure, and it takes nothing on trust.
#pragma once
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "linux/vfio/iova_space.h"

namespace barter::linux_os::vfio {

struct Type1Info {
  std::uint64_t page_sizes = 0;   // a bit for each
  std::vector<IovaRange> usable;  // everything, if the kernel lists nothing (before Linux 5.4)
};
// The error is a sentence about what makes no sense.
[[nodiscard]] std::expected<Type1Info, std::string> parse_type1_info(std::span<const std::byte> answer);

}  // namespace barter::linux_os::vfio
