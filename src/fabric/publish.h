// How the bytes of a request reach memory that somebody else may be polling (docs/memory-order.md, rules 3 and 4).
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace barter::fabric {

inline constexpr std::size_t kPublishedBytes = 16;

template <class Word>
inline bool is_aligned(const std::byte* at) {
  return reinterpret_cast<std::uintptr_t>(at) % sizeof(Word) == 0;
}

// Stores one word with release. The memory is aligned for it; memory of devices and hosts holds no C++ objects but bytes,
// and lock-free atomics of this size have the word's own layout.
template <class Word>
inline void store_release(std::byte* to, const std::byte* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  std::atomic_ref<Word>(*reinterpret_cast<Word*>(to)).store(word, std::memory_order_release);
}
template <class Word>
inline void load_acquire(std::byte* to, std::byte* from) {
  const Word word = std::atomic_ref<Word>(*reinterpret_cast<Word*>(from)).load(std::memory_order_acquire);
  std::memcpy(to, &word, sizeof word);
}

// Copies a request's payload into memory. Up to 16 bytes are published: a poller that loads the last aligned 4 bytes
// (or all 8 of an aligned write of 8) with acquire and sees the new value sees all the bytes, and all earlier writes.
inline void publish(std::byte* to, std::span<const std::byte> from) {
  const std::size_t bytes = from.size();
  std::byte* const last = to + bytes - 4;
  if (bytes > kPublishedBytes || bytes < 4 || !is_aligned<std::uint32_t>(last)) {
    std::memcpy(to, from.data(), bytes);
  } else if (bytes == 8 && is_aligned<std::uint64_t>(to)) {
    store_release<std::uint64_t>(to, from.data());
  } else {
    std::memcpy(to, from.data(), bytes - 4);
    store_release<std::uint32_t>(last, from.data() + bytes - 4);
  }
}

// Copies a read's answer out of memory. An aligned read of 4 or 8 bytes is one load with acquire.
inline void fetch(std::span<std::byte> into, std::byte* from) {
  if (into.size() == 4 && is_aligned<std::uint32_t>(from)) {
    load_acquire<std::uint32_t>(into.data(), from);
  } else if (into.size() == 8 && is_aligned<std::uint64_t>(from)) {
    load_acquire<std::uint64_t>(into.data(), from);
  } else {
    std::memcpy(into.data(), from, into.size());
  }
}

}  // namespace barter::fabric
