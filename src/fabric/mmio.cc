#include "fabric/mmio.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "fabric/publish.h"
#include "fabric/route.h"
#include "fabric/system.h"

namespace barter::fabric {
namespace {

bool same_windows(const std::vector<MemoryWindow>& left, const std::vector<MemoryWindow>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](const auto& one, const auto& other) {
    return one.bar == other.bar && one.start == other.start && one.bytes.data() == other.bytes.data() &&
           one.bytes.size() == other.bytes.size();
  });
}

std::uint64_t all_ones(unsigned width_bytes) { return ~std::uint64_t{0} >> (64 - 8 * width_bytes); }

}  // namespace

MappedBar::MappedBar(System& system, Node& node, std::uint64_t start, std::uint64_t bytes)
    : system_(system),
      node_(node),
      start_(start),
      bytes_(bytes),
      threaded_(system.options.running == Running::threaded) {}

// Several threads may use one mapping, unless the machine has but one.
void MappedBar::count(std::atomic<std::uint64_t>& counter, unsigned bytes) const {
  if (threaded_) {
    counter.fetch_add(bytes, std::memory_order_relaxed);
  } else {
    counter.store(counter.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
  }
}

const MappedBar::Layout& MappedBar::layout() {
  const std::uint64_t now = system_.epoch.load(std::memory_order_acquire);
  if (seen_epoch_.load(std::memory_order_acquire) == now) return *layout_.load(std::memory_order_acquire);
  return look_again();
}

const MappedBar::Layout& MappedBar::look_again() {
  const std::lock_guard lock(system_.mutex);
  Layout found;
  // Whether the way is open is a matter of the bridges' windows and of the function's own BAR: ask for the first byte.
  const Resolution way = resolve_from_cpu(system_, start_);
  found.answers = way.status == Completion::successful && way.target == &node_;
  if (found.answers) {
    found.bar = way.bar;
    for (const MemoryWindow& window : node_.windows)
      if (window.bar == way.bar) found.windows.push_back(window);
    const MsixPlaces places = msix_places(node_, way.bar);
    found.msix_table = places.table;
    found.msix_pending = places.pending;
  }
  const auto known = std::find_if(layouts_.begin(), layouts_.end(), [&](const auto& layout) {
    return layout->answers == found.answers && same_windows(layout->windows, found.windows);
  });
  const Layout* current =
      known != layouts_.end() ? known->get() : layouts_.emplace_back(std::make_unique<Layout>(std::move(found))).get();
  layout_.store(current, std::memory_order_release);
  seen_epoch_.store(system_.epoch.load(std::memory_order_relaxed), std::memory_order_release);
  return *current;
}

std::uint64_t MappedBar::load(BarOffset at, unsigned width_bytes) {
  assert(at.value % width_bytes == 0 && at.value < bytes_ && width_bytes <= bytes_ - at.value);
  const Layout& now = layout();
  if (!now.answers) return all_ones(width_bytes);
  count(node_.cpu_read_bytes, width_bytes);
  if (now.msix_table.contains(at.value) || now.msix_pending.contains(at.value)) {
    const std::lock_guard lock(system_.mutex);
    return read_msix(node_, at.value, width_bytes);
  }
  for (const MemoryWindow& window : now.windows) {
    if (at.value < window.start.value || at.value - window.start.value + width_bytes > window.bytes.size()) continue;
    std::uint64_t value = 0;
    fetch(std::as_writable_bytes(std::span(&value, 1)).first(width_bytes),
          window.bytes.data() + (at.value - window.start.value));
    return value;
  }
  return node_.model->read_register(now.bar, at, width_bytes);
}

void MappedBar::store(BarOffset at, unsigned width_bytes, std::uint64_t value) {
  assert(at.value % width_bytes == 0 && at.value < bytes_ && width_bytes <= bytes_ - at.value);
  const Layout& now = layout();
  if (!now.answers) return;
  count(node_.cpu_written_bytes, width_bytes);
  if (now.msix_table.contains(at.value) || now.msix_pending.contains(at.value)) {
    const std::lock_guard lock(system_.mutex);
    write_msix(node_, at.value, width_bytes, value);
    return;
  }
  for (const MemoryWindow& window : now.windows) {
    if (at.value < window.start.value || at.value - window.start.value + width_bytes > window.bytes.size()) continue;
    publish(window.bytes.data() + (at.value - window.start.value),
            std::as_bytes(std::span(&value, 1)).first(width_bytes));
    return;
  }
  node_.model->write_register(now.bar, at, width_bytes, value);
  system_.runner->wake(node_);
}

std::span<std::byte> MappedBar::memory(BarOffset at, std::uint64_t bytes) {
  const Layout& now = layout();
  if (!now.answers) return {};
  for (const MemoryWindow& window : now.windows) {
    if (at.value < window.start.value) continue;
    const std::uint64_t offset = at.value - window.start.value;
    if (offset <= window.bytes.size() && bytes <= window.bytes.size() - offset)
      return window.bytes.subspan(offset, bytes);
  }
  return {};
}

}  // namespace barter::fabric
