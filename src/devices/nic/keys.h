// The regions that the other end may reach, and their keys: docs/devices/nic.md, section 3. The device's step registers and uses them;
// any thread may withdraw one.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "barter/address.hpp"
#include "devices/nic/descriptors.h"
#include "devices/nic/registers.h"

namespace barter::devices::nic {

struct Region {
  struct Part {
    std::uint64_t start = 0;  // in the region
    std::uint64_t address = 0;
  };
  bool may_read = false;
  bool may_write = false;
  std::uint64_t bytes = 0;
  std::vector<Part> parts;  // in order, with no gaps

  [[nodiscard]] bool permits(bool is_write, std::uint64_t offset, std::uint64_t count) const {
    return (is_write ? may_write : may_read) && offset <= bytes && count <= bytes - offset;
  }
  // Calls move(address, bytes) for each part of what begins at `offset`, and is within; false as soon as a call is.
  template <class Move>
  [[nodiscard]] bool walk(std::uint64_t offset, std::span<std::byte> what, Move&& move) const;

 private:
  [[nodiscard]] std::size_t find(std::uint64_t offset) const;
};

class Keys {
 public:
  explicit Keys(std::uint16_t count) : slots_(count) {}

  // The host's side. Once REMOTE has told what is under way, no byte moves by the key any more: Busy says why.
  void withdraw(Key key);
  [[nodiscard]] Remote remote() const { return Remote::from(remote_.load(std::memory_order_seq_cst)); }

  // The step's side.
  struct Rights {
    bool may_read = false;
    bool may_write = false;
  };
  // Nothing: all are in use.
  [[nodiscard]] std::optional<Key> add(Rights rights, std::span<const Segment> segments);
  // Null: the key names nothing. To move bytes by what it finds, look while Busy.
  [[nodiscard]] const Region* find(Key key) const;
  void forget_all();
  void clear_remote() { remote_.store(0, std::memory_order_seq_cst); }

  // REMOTE is BUSY for as long as this lives. It was made before the key is looked at, and the host looks at REMOTE after it has
  // withdrawn the key; all four are sequentially consistent. So either the key is found withdrawn, or the host sees BUSY, or that
  // it is over: then it has taken up (acquire) the end of the piece (release).
  class Busy {
   public:
    explicit Busy(Keys& keys);
    ~Busy();
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    Keys& keys_;
  };

 private:
  // 16 is set while the key is good; 15:0 its number, or that of the last one.
  static constexpr std::uint32_t kIsGood = 0x10000;
  struct Slot {
    std::atomic<std::uint32_t> state = 0;
    Region region;  // the step's, and of a key that is good
  };
  std::vector<Slot> slots_;
  std::size_t next_ = 0;  // where to look for a free one
  std::atomic<std::uint32_t> remote_ = 0;
};

template <class Move>
bool Region::walk(std::uint64_t offset, std::span<std::byte> what, Move&& move) const {
  for (std::size_t at = find(offset); !what.empty(); ++at) {
    const std::uint64_t end = at + 1 < parts.size() ? parts[at + 1].start : bytes;
    const std::size_t most = what.size() < end - offset ? what.size() : static_cast<std::size_t>(end - offset);
    if (!move(DmaAddress{parts[at].address + (offset - parts[at].start)}, what.first(most))) return false;
    what = what.subspan(most);
    offset += most;
  }
  return true;
}

}  // namespace barter::devices::nic
