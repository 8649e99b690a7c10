// The version in a kernel's release, and the ones at which something that matters here began.
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>

namespace barter::doctor {

struct KernelVersion {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  friend constexpr auto operator<=>(const KernelVersion&, const KernelVersion&) = default;
};

// "6.1.0-18-amd64" is 6.1; nothing for a text that begins otherwise.
[[nodiscard]] std::optional<KernelVersion> parse_kernel_version(std::string_view release);

inline constexpr KernelVersion kFirstWithPeerMemory{4, 20};     // p2pdma at all
inline constexpr KernelVersion kFirstWithUserPeerMemory{6, 2};  // programs may map p2pmem
inline constexpr KernelVersion kFirstWithVfioDmabuf{6, 19};     // VFIO_DEVICE_FEATURE_DMA_BUF
// From the rework of the DMA mapping of peer memory on, lists that pass the host bridge without an IOMMU got no address;
// mended after 7.1 and in stable kernels of June 2026.
inline constexpr KernelVersion kFirstWithMappingBug{6, 16};
inline constexpr KernelVersion kLastWithMappingBug{7, 1};

}  // namespace barter::doctor
