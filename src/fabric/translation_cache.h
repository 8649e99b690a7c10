// The Address Translation Cache of one function: what the IOMMU has answered to its Translation Requests (PCIe 6.0, 10.1).
// Bounded; when it is full, the oldest translation goes. Not thread-safe: System's mutex guards it.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "barter/memory.hpp"
#include "fabric/span.h"

namespace barter::fabric {

// What one Translation Completion says (PCIe 6.0, 10.2.3). There is none that allows neither reads nor writes.
struct Translation {
  std::uint64_t start = 0;         // untranslated, and aligned to `bytes`
  std::uint64_t bytes = 0;         // a power of two from 4 KiB on: field S, and what the address's low bits then say
  std::uint64_t target = 0;        // what `start` is translated to; aligned to `bytes` as well
  Access access = Access::read;    // R and W
  bool untranslated_only = false;  // U: the range is reached by untranslated requests, and no others

  [[nodiscard]] bool allows(Access wanted) const {
    return (static_cast<unsigned>(access) & static_cast<unsigned>(wanted)) == static_cast<unsigned>(wanted);
  }
};

class TranslationCache {
 public:
  static constexpr std::size_t kMaxTranslations = 1024;

  // The translation of an address; null: the IOMMU must be asked. Good until the next insert.
  [[nodiscard]] const Translation* find(std::uint64_t address) const {
    const std::size_t place = first_after(address);
    if (place == 0) return nullptr;
    const Translation& known = slots_[order_[place - 1]];
    return address - known.start < known.bytes ? &known : nullptr;
  }

  // What overlaps the new one is known no more.
  const Translation& insert(const Translation& translation) {
    drop({translation.start, translation.start + translation.bytes});
    const auto slot = static_cast<std::uint16_t>(next_slot_++ % kMaxTranslations);
    if (slots_[slot].bytes != 0) drop({slots_[slot].start, slots_[slot].start + 1});
    const std::size_t place = first_after(translation.start);
    const auto at = order_.begin() + static_cast<std::ptrdiff_t>(place);
    const auto end = order_.begin() + static_cast<std::ptrdiff_t>(count_);
    std::copy_backward(at, end, end + 1);
    *at = slot;
    ++count_;
    slots_[slot] = translation;
    return slots_[slot];
  }

  // Drops every translation that has an address of the range, as an Invalidate Request asks (PCIe 6.0, 10.3.1).
  void drop(Span range) {
    bool any = false;
    for_each(range, [&](const Translation& translation) {
      slots_[static_cast<std::size_t>(&translation - slots_.data())].bytes = 0;
      any = true;
    });
    if (!any) return;
    const auto end = order_.begin() + static_cast<std::ptrdiff_t>(count_);
    count_ = static_cast<std::size_t>(
        std::remove_if(order_.begin(), end, [this](std::uint16_t slot) { return slots_[slot].bytes == 0; }) -
        order_.begin());
  }

  template <class Visit>
  void for_each(Span range, Visit&& visit) const {
    std::size_t place = first_after(range.start);
    if (place > 0) --place;
    for (; place < count_; ++place) {
      const Translation& known = slots_[order_[place]];
      if (known.start >= range.end) return;
      if (range.start < known.start + known.bytes) visit(known);
    }
  }

  void clear() {
    for (std::size_t place = 0; place < count_; ++place) slots_[order_[place]].bytes = 0;
    count_ = 0;
  }
  [[nodiscard]] std::size_t size() const { return count_; }

 private:
  // How many translations start at the address or before it.
  [[nodiscard]] std::size_t first_after(std::uint64_t address) const {
    const auto end = order_.begin() + static_cast<std::ptrdiff_t>(count_);
    return static_cast<std::size_t>(
        std::upper_bound(order_.begin(), end, address,
                         [this](std::uint64_t wanted, std::uint16_t slot) { return wanted < slots_[slot].start; }) -
        order_.begin());
  }

  std::array<Translation, kMaxTranslations> slots_{};    // filled round and round; 0 bytes: empty
  std::array<std::uint16_t, kMaxTranslations> order_{};  // the full ones, by start
  std::size_t count_ = 0;
  std::size_t next_slot_ = 0;
};

}  // namespace barter::fabric
