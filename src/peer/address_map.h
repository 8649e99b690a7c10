// What the addresses of this process are: an interval map from ranges of pointers to whatever is known of them. Memory that
// is in no range is ordinary host memory.
//
//   AddressMap<Owner> map;
//   map.insert(region.cpu_bytes(), owner);
//   if (const auto range = map.at_or_after(address); range && range.start() <= address) use(range.value());
//
// Ranges are sorted and never overlap. They are kept in blocks of at most kMaxRangesInBlock, and above them a list of the
// blocks' first addresses, which is small enough for a processor's nearest caches: a look-up is a search there and one in
// the few lines of a block, which are fetched at once: O(log n), and one wait for memory. To insert or erase moves one block and
// that list. (A tree of nodes costs a cache miss
// for each of its levels.)
//
// Threads: look-ups may go side by side; insert() and erase() are alone.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "barter/result.hpp"

namespace barter::peer {

inline constexpr std::size_t kMaxRangesInBlock = 32;
inline constexpr std::size_t kMaxAddressRanges = std::size_t{1} << 22;

// `kMostInBlock` is for tests: small blocks split and join often.
template <class Value, std::size_t kMostInBlock = kMaxRangesInBlock>
class AddressMap {
 public:
  // From start to end, end not included.
  struct Range {
    std::uintptr_t start = 0;
    std::uintptr_t end = 0;
    Value value{};
  };

  // Errors: invalid_argument for memory that is empty, wraps around, or overlaps a range that is there; exhausted.
  [[nodiscard]] Result<void> insert(std::span<const std::byte> memory, Value value) {
    const auto start = reinterpret_cast<std::uintptr_t>(memory.data());
    return insert({.start = start, .end = start + memory.size(), .value = std::move(value)});
  }
  [[nodiscard]] Result<void> insert(Range range) {
    if (range.end <= range.start) return refuse(ErrorCode::invalid_argument, "it is empty, or wraps around");
    if (const Found next = at_or_after(range.start); next && next.start() < range.end)
      return refuse(ErrorCode::invalid_argument, "part of it belongs to something else already");
    if (size_ == kMaxAddressRanges)
      return refuse(ErrorCode::exhausted,
                    "there are " + std::to_string(size_) + " ranges already, the most there can be");
    if (blocks_.empty()) add_block(0, range.start);
    std::size_t at = std::max<std::size_t>(not_above(firsts_.data(), firsts_.size(), range.start), 1) - 1;
    if (blocks_[at]->count == kMostInBlock) {
      // Memory that is handed out in order comes in order: then blocks are left full.
      const bool is_last = at + 1 == blocks_.size() && blocks_[at]->starts.back() < range.start;
      if (is_last)
        add_block(at + 1, range.start);
      else
        split(at);
      if (firsts_[at + 1] <= range.start) ++at;
    }
    Block& block = *blocks_[at];
    const std::size_t place = not_above(block.starts.data(), block.count, range.start);
    for (std::size_t index = block.count; index > place; --index) block.move_within(index - 1, index);
    block.starts[place] = range.start;
    block.ends[place] = range.end;
    block.values[place] = std::move(range.value);
    ++block.count;
    firsts_[at] = block.starts.front();
    ++size_;
    return {};
  }

  // Forgets the range that starts there. False if there is none.
  bool erase(const std::byte* start) { return erase(reinterpret_cast<std::uintptr_t>(start)); }
  bool erase(std::uintptr_t start) {
    const std::size_t blocks = not_above(firsts_.data(), firsts_.size(), start);
    if (blocks == 0) return false;
    Block& block = *blocks_[blocks - 1];
    const std::size_t place = not_above(block.starts.data(), block.count, start) - 1;
    if (block.starts[place] != start) return false;
    for (std::size_t index = place; index + 1 < block.count; ++index) block.move_within(index + 1, index);
    block.values[--block.count] = Value{};
    --size_;
    tidy(blocks - 1);
    return true;
  }

 private:
  // The starts lie together, so that a search touches nothing else. Empty only for as long as a call lasts.
  struct Block {
    std::size_t count = 0;
    std::array<std::uintptr_t, kMostInBlock> starts{};
    std::array<std::uintptr_t, kMostInBlock> ends{};
    std::array<Value, kMostInBlock> values{};
    // One wait for memory, and not one for each step of the search.
    void fetch() const {
      for (std::size_t place = 0; place < kMostInBlock; place += 8) {
        __builtin_prefetch(&starts[place]);
        __builtin_prefetch(&ends[place]);
      }
    }
    void move_within(std::size_t from, std::size_t to) {
      starts[to] = starts[from];
      ends[to] = ends[from];
      values[to] = std::move(values[from]);
    }
    void append(Block& other, std::size_t from) {
      for (std::size_t index = from; index < other.count; ++index, ++count) {
        starts[count] = other.starts[index];
        ends[count] = other.ends[index];
        values[count] = std::exchange(other.values[index], Value{});
      }
      other.count = from;
    }
  };

 public:
  // A range that was found, or nothing. Good until the map changes.
  class Found {
   public:
    Found() = default;
    [[nodiscard]] explicit operator bool() const { return block_ != nullptr; }
    [[nodiscard]] std::uintptr_t start() const { return block_->starts[place_]; }
    [[nodiscard]] std::uintptr_t end() const { return block_->ends[place_]; }
    [[nodiscard]] const Value& value() const { return block_->values[place_]; }

   private:
    friend class AddressMap;
    Found(const Block* block, std::size_t place) : block_(block), place_(place) {}
    const Block* block_ = nullptr;
    std::size_t place_ = 0;
  };

  // The first range that ends behind this address: the one that contains it, or the next one, if there is one.
  [[nodiscard]] Found at_or_after(std::uintptr_t address) const {
    if (blocks_.empty()) return {};
    const std::size_t blocks = not_above(firsts_.data(), firsts_.size(), address);
    if (blocks == 0) return Found(blocks_.front().get(), 0);
    const Block* const block = blocks_[blocks - 1].get();
    block->fetch();
    const std::size_t count = not_above(block->starts.data(), block->count, address);
    if (address < block->ends[count - 1]) return Found(block, count - 1);
    if (count < block->count) return Found(block, count);
    return blocks < blocks_.size() ? Found(blocks_[blocks].get(), 0) : Found();
  }

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  // How many of these are not above the address; they are sorted. In quarters, whose three loads don't wait for each other,
  // and with no branch that a processor could guess wrong. Where the answer lies in a quarter that is not the last, what is
  // looked at behind it is above the address anyway.
  [[nodiscard]] static std::size_t not_above(const std::uintptr_t* sorted, std::size_t count, std::uintptr_t address) {
    const std::uintptr_t* base = sorted;
    const auto is_not_above = [&](std::size_t place) { return static_cast<std::size_t>(base[place] <= address); };
    while (count > 3) {
      const std::size_t quarter = count / 4;
      base += quarter * (is_not_above(quarter - 1) + is_not_above(2 * quarter - 1) + is_not_above(3 * quarter - 1));
      count -= 3 * quarter;
    }
    std::size_t found = static_cast<std::size_t>(base - sorted);
    for (std::size_t place = 0; place < count; ++place) found += is_not_above(place);
    return found;
  }

  Block& add_block(std::size_t at, std::uintptr_t first) {
    firsts_.insert(firsts_.begin() + static_cast<std::ptrdiff_t>(at), first);
    return **blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(at), std::make_unique<Block>());
  }
  void drop_block(std::size_t at) {
    firsts_.erase(firsts_.begin() + static_cast<std::ptrdiff_t>(at));
    blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void split(std::size_t at) {
    Block& lower = *blocks_[at];
    const std::size_t half = lower.count / 2;
    add_block(at + 1, lower.starts[half]).append(lower, half);
  }

  // After an erasure: drops a block that is empty, and joins it with the next one where both together are half full.
  void tidy(std::size_t at) {
    if (blocks_[at]->count == 0) return drop_block(at);
    firsts_[at] = blocks_[at]->starts.front();
    if (at + 1 == blocks_.size() || blocks_[at]->count + blocks_[at + 1]->count > kMostInBlock / 2) return;
    blocks_[at]->append(*blocks_[at + 1], 0);
    drop_block(at + 1);
  }

  [[nodiscard]] static std::unexpected<Error> refuse(ErrorCode code, std::string why) {
    return fail({.code = code, .doing = "noting what a range of memory is", .why = std::move(why)});
  }

  std::vector<std::uintptr_t> firsts_;  // of the blocks
  std::vector<std::unique_ptr<Block>> blocks_;
  std::size_t size_ = 0;
};

}  // namespace barter::peer
