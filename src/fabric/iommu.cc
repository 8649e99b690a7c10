#include "fabric/iommu.h"

#include <algorithm>
#include <mutex>

#include <fmt/format.h>

#include "fabric/system.h"

namespace barter::fabric {
namespace {

constexpr std::uint64_t kInPage = kPageBytes - 1;

// The whole pages that a range of bytes touches.
struct Pages {
  std::uint64_t start = 0;
  std::uint64_t bytes = 0;
};
Pages pages_of(std::uint64_t address, std::uint64_t bytes) {
  const std::uint64_t start = address & ~kInPage;
  return {start, ((address - start) + bytes + kInPage) & ~kInPage};
}

Error cannot_map(const Node& node, ErrorCode code, std::string why, std::string cure) {
  return {.code = code,
          .doing = "mapping memory in the IOMMU for",
          .subject = node.name,
          .why = std::move(why),
          .cure = std::move(cure)};
}

}  // namespace

Domain::Domain(System& system, Node& node)
    : system_(system), node_(node), chance_(system.options.seed * 0xbf58476d1ce4e5b9 + node.index) {}

bool Domain::translates() const { return system_.description.iommu == IommuMode::translate; }

Result<DmaAddress> Domain::map(BusAddress target, std::uint64_t bytes, Access access) {
  if (!translates()) return DmaAddress{target.value};
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 42;
  if (bytes == 0 || bytes > kMostBytes || target.value >= kFirstIova)
    return fail(cannot_map(node_, ErrorCode::invalid_argument,
                           fmt::format("{} bytes at bus address {:#x} are no range of memory", bytes, target.value),
                           ""));
  const Pages pages = pages_of(target.value, bytes);
  const std::lock_guard lock(system_.mutex);
  const auto iova = allocator_.allocate({.target = pages.start, .bytes = pages.bytes});
  if (!iova)
    return fail(cannot_map(node_, ErrorCode::exhausted, "no DMA addresses of that size are left in its domain",
                           "unmap something first"));
  if (!table_.map({.iova = *iova, .target = pages.start, .bytes = pages.bytes}, access)) {
    allocator_.release(*iova);
    return fail(cannot_map(node_, ErrorCode::exhausted, "its page tables have reached their limit",
                           "unmap something first, or map memory that is aligned to 2 MiB"));
  }
  return DmaAddress{*iova + (target.value - pages.start)};
}

void Domain::unmap(DmaAddress address, std::uint64_t bytes) {
  if (!translates() || bytes == 0) return;
  const Pages pages = pages_of(address.value, bytes);
  std::optional<IovaAllocator::Range> range;
  bool known_to_device = false;
  bool asked = false;
  bool obeyed = true;
  {
    const std::lock_guard lock(system_.mutex);
    range = allocator_.find(pages.start);
    if (!range || range->iova != pages.start || range->bytes != pages.bytes) return;  // no map() gave this
    known_to_device = node_.requester && node_.requester->uses_ats();
    if (known_to_device) {
      if (std::find(retiring_.begin(), retiring_.end(), range->iova) != retiring_.end()) return;
      retiring_.push_back(range->iova);
    }
    table_.unmap(range->iova, range->bytes);
    if (known_to_device) {
      asked = ats_allowed_;
      obeyed = invalidate(*range);
    } else {
      allocator_.release(range->iova);
    }
    if (node_.requester) node_.requester->forget();
  }
  // Rule 6 of docs/memory-order.md: what was under way by the old entry is over when we return.
  system_.wait_until_idle(node_);
  if (!known_to_device) return;
  if (!obeyed) cut_off(*range, asked);
  // Only now may the addresses mean something else: until here the device could have known them in the old sense.
  const std::lock_guard lock(system_.mutex);
  std::erase(retiring_, range->iova);
  allocator_.release(range->iova);
}

std::optional<Domain::Mapped> Domain::translate(std::uint64_t address) const {
  const auto leaf = table_.translate(address);
  if (!leaf) return std::nullopt;
  Mapped translation{.target = leaf->range.target + (address - leaf->range.iova),
                     .mapping_start = leaf->range.iova,
                     .mapping_end = leaf->range.iova + leaf->range.bytes,
                     .access = leaf->access};
  // One map() is one run of bus memory, so what holds in this leaf holds in all of it.
  if (const auto range = allocator_.find(address)) {
    translation.mapping_start = range->iova;
    translation.mapping_end = range->iova + range->bytes;
  }
  return translation;
}

}  // namespace barter::fabric
