#include "linux/vfio/iova_space.h"

#include <algorithm>
#include <utility>

namespace barter::linux_os::vfio {

IovaSpace::IovaSpace(std::vector<IovaRange> usable, std::vector<IovaRange> avoided)
    : usable_(std::move(usable)), avoided_(std::move(avoided)) {
  const auto is_nonsense = [](const IovaRange& range) { return range.first > range.last; };
  std::erase_if(usable_, is_nonsense);
  std::erase_if(avoided_, is_nonsense);
  std::ranges::sort(usable_, {}, &IovaRange::first);
  // The first mebibyte: a device that sends to address 0 by mistake should meet nothing there.
  avoided_.push_back({0, (std::uint64_t{1} << 20) - 1});
}

std::optional<IovaRange> IovaSpace::range(std::uint64_t first, std::uint64_t bytes) {
  if (bytes == 0 || bytes - 1 > ~std::uint64_t{0} - first) return std::nullopt;
  return IovaRange{first, first + (bytes - 1)};
}

// Where the last thing ends that overlaps the wanted range, if anything does.
std::optional<std::uint64_t> IovaSpace::last_in_the_way(IovaRange wanted) const {
  std::optional<std::uint64_t> last;
  auto next = used_.upper_bound(wanted.last);
  if (next != used_.begin() && std::prev(next)->second >= wanted.first) last = std::prev(next)->second;
  for (const IovaRange& avoided : avoided_)
    if (avoided.first <= wanted.last && avoided.last >= wanted.first) last = std::max(last.value_or(0), avoided.last);
  return last;
}

std::optional<std::uint64_t> IovaSpace::allocate(std::uint64_t bytes, std::uint64_t alignment) {
  for (const IovaRange& usable : usable_) {
    std::uint64_t at = usable.first;
    while (true) {
      const std::uint64_t aligned = (at + (alignment - 1)) & ~(alignment - 1);
      const auto wanted = range(aligned, bytes);
      if (aligned < at || !wanted || wanted->last > usable.last) break;
      const auto blocked = last_in_the_way(*wanted);
      if (!blocked) {
        used_.emplace(wanted->first, wanted->last);
        return wanted->first;
      }
      if (*blocked == ~std::uint64_t{0}) break;
      at = *blocked + 1;
    }
  }
  return std::nullopt;
}

bool IovaSpace::take(std::uint64_t first, std::uint64_t bytes) {
  const auto wanted = range(first, bytes);
  if (!wanted) return false;
  const bool is_usable = std::ranges::any_of(
      usable_, [&](const IovaRange& usable) { return usable.first <= wanted->first && usable.last >= wanted->last; });
  const auto next = used_.upper_bound(wanted->last);
  if (!is_usable || (next != used_.begin() && std::prev(next)->second >= wanted->first)) return false;
  used_.emplace(wanted->first, wanted->last);
  return true;
}

void IovaSpace::give_back(std::uint64_t first) { used_.erase(first); }

}  // namespace barter::linux_os::vfio
