// Which DMA addresses of one IOMMU domain are in use. Pure: it knows addresses, and no kernel.
//
// Three kinds of address are never given out by allocate(): those that the IOMMU can't translate or that are reserved (the
// kernel lists what is usable; the window of MSI messages is missing there), address 0, and those at which the bus finds
// something. The last is what the kernel does not check for us: a request to the address of a peer's BAR may be turned
// around at a switch and never meet the IOMMU, and an NVMe drive takes the address of its own memory buffer for its own.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace barter::linux_os::vfio {

// First and last address, both included: a range may end at the last address there is.
struct IovaRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

class IovaSpace {
 public:
  // Ranges that make no sense (first above last) are left out.
  IovaSpace(std::vector<IovaRange> usable, std::vector<IovaRange> avoided);

  // The lowest free address with this alignment, a power of two. Nothing, if there is no room.
  [[nodiscard]] std::optional<std::uint64_t> allocate(std::uint64_t bytes, std::uint64_t alignment);
  // Exactly this address, which may be an avoided one. False if it is not usable or in use.
  [[nodiscard]] bool take(std::uint64_t first, std::uint64_t bytes);
  // What allocate() or take() gave, whole.
  void give_back(std::uint64_t first);

 private:
  [[nodiscard]] static std::optional<IovaRange> range(std::uint64_t first, std::uint64_t bytes);
  [[nodiscard]] std::optional<std::uint64_t> last_in_the_way(IovaRange wanted) const;

  std::vector<IovaRange> usable_;
  std::vector<IovaRange> avoided_;
  std::map<std::uint64_t, std::uint64_t> used_;  // first, last
};

}  // namespace barter::linux_os::vfio
