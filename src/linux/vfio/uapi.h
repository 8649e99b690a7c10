// What VFIO's user interface has gained since the oldest <linux/vfio.h> that we build with (Linux 6.1), and that header
// itself. Everything newer is probed at run time: a kernel that lacks it says so.
#pragma once
#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>

namespace barter::linux_os::vfio {

// VFIO_DEVICE_FEATURE_DMA_BUF, Linux 6.19: a file descriptor that stands for ranges of one region. The fields are the
// kernel's, in its order; `ranges` follows directly.
inline constexpr std::uint32_t kFeatureDmaBuf = 11;
struct FeatureDmaBuf {
  std::uint32_t region_index = 0;
  std::uint32_t open_flags = 0;  // O_CLOEXEC and the access mode of the file
  std::uint32_t flags = 0;       // none are defined
  std::uint32_t range_count = 0;
};
struct FeatureDmaBufRange {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
};
static_assert(sizeof(FeatureDmaBuf) == 16 && sizeof(FeatureDmaBufRange) == 16);

}  // namespace barter::linux_os::vfio
