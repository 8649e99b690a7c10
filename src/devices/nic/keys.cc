#include "devices/nic/keys.h"

#include <algorithm>

namespace barter::devices::nic {

std::size_t Region::find(std::uint64_t offset) const {
  const auto after = std::ranges::upper_bound(parts, offset, {}, &Part::start);
  return static_cast<std::size_t>(after - parts.begin()) - 1;
}

void Keys::withdraw(Key key) {
  const std::size_t index = key.get(Key::index);
  if (index >= slots_.size()) return;
  const std::uint32_t number = key.get(Key::number);
  std::uint32_t good = kIsGood | number;
  slots_[index].state.compare_exchange_strong(good, number, std::memory_order_seq_cst);
}

std::optional<Key> Keys::add(Rights rights, std::span<const Segment> segments) {
  for (std::size_t tries = 0; tries < slots_.size(); ++tries) {
    const std::size_t index = next_;
    Slot& slot = slots_[index];
    next_ = (next_ + 1) % slots_.size();
    const std::uint32_t state = slot.state.load(std::memory_order_seq_cst);
    if ((state & kIsGood) != 0) continue;
    Region& region = slot.region;
    region.may_read = rights.may_read;
    region.may_write = rights.may_write;
    region.bytes = 0;
    region.parts.clear();
    for (const Segment& segment : segments) {
      region.parts.push_back({.start = region.bytes, .address = segment.address});
      region.bytes += segment.bytes;
    }
    // Another number each time, also after a reset: who kept an old key does not find a new region by it.
    const auto number = static_cast<std::uint16_t>(state + 1);
    slot.state.store(kIsGood | number, std::memory_order_seq_cst);
    return Key{}.with(Key::number, number).with(Key::index, static_cast<std::uint16_t>(index));
  }
  return std::nullopt;
}

const Region* Keys::find(Key key) const {
  const std::size_t index = key.get(Key::index);
  if (index >= slots_.size()) return nullptr;
  const Slot& slot = slots_[index];
  const std::uint32_t good = kIsGood | key.get(Key::number);
  return slot.state.load(std::memory_order_seq_cst) == good ? &slot.region : nullptr;
}

void Keys::forget_all() {
  for (Slot& slot : slots_) slot.state.fetch_and(~kIsGood, std::memory_order_seq_cst);
}

Keys::Busy::Busy(Keys& keys) : keys_(keys) {
  const Remote before = keys.remote();
  keys.remote_.store(Remote::from(before.raw + 2).with(Remote::busy, true).raw, std::memory_order_seq_cst);
}

Keys::Busy::~Busy() { keys_.remote_.store(keys_.remote().with(Remote::busy, false).raw, std::memory_order_seq_cst); }

}  // namespace barter::devices::nic
