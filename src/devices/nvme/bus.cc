#include "devices/nvme/bus.h"

#include <algorithm>
#include <atomic>

namespace barter::devices::nvme {

using fabric::Completion;

Completion Bus::read(std::uint64_t from, std::span<std::byte> into) const {
  while (!into.empty()) {
    const auto part = run(from, into.size(), Access::read);
    if (part.memory.empty()) {
      if (part.status != Completion::successful) return part.status;
      return requester_->read({from}, into);
    }
    const std::size_t bytes = std::min(part.memory.size(), into.size());
    std::memcpy(into.data(), part.memory.data(), bytes);
    into = into.subspan(bytes);
    from += bytes;
  }
  return Completion::successful;
}

Completion Bus::write(std::uint64_t to, std::span<const std::byte> from) const {
  while (!from.empty()) {
    const auto part = run(to, from.size(), Access::write);
    if (part.memory.empty()) {
      if (part.status != Completion::successful) return part.status;
      return requester_->write({to}, from);
    }
    const std::size_t bytes = std::min(part.memory.size(), from.size());
    std::memcpy(part.memory.data(), from.data(), bytes);
    from = from.subspan(bytes);
    to += bytes;
  }
  return Completion::successful;
}

Completion Bus::publish(std::uint64_t to, std::span<const std::byte, 16> entry) const {
  if (claim_.memory.empty() || place(to, entry.size()) != Place::buffer) return requester_->write({to}, entry);
  std::byte* slot = claim_.memory.data() + (to - claim_.base);
  std::uint32_t last = 0;
  std::memcpy(&last, entry.data() + 12, sizeof(last));
  std::memcpy(slot, entry.data(), 12);
  // docs/memory-order.md, rule 3: what the controller writes is published by its last word.
  std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(slot + 12)).store(last, std::memory_order_release);
  return Completion::successful;
}

}  // namespace barter::devices::nvme
