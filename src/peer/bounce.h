// A bounded pool of host buffers for transfers that go by way of host memory. All of it is allocated at the start; when
// the buffers are used up, take() says so at once, with the counts, and never allocates, waits or shares.
//
//   auto pool = BouncePool<pci::DmaBuffer>::create(1_MiB, 16, [&](std::uint64_t bytes) {
//     return drive.allocate_dma(bytes, pci::DmaUse::data);
//   });
//   auto buffer = (*pool)->take();    // Result<Bounce>; given back when it goes
//   use(**buffer);                    // the DmaBuffer
//
// `Buffer` is whatever the callback makes: a buffer for one function, or a pair that two functions share.
// Threads: take() and the end of a buffer are safe from any thread. The pool outlives its buffers.
#pragma once
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "barter/result.hpp"

namespace barter::peer {

inline constexpr std::size_t kMaxBounceBuffers = 4096;

struct BounceCounters {
  std::size_t in_use = 0;
  std::size_t most_in_use = 0;
  std::uint64_t taken = 0;
  std::uint64_t refused = 0;  // take() found none
};

template <class Buffer>
class BouncePool {
 public:
  // One buffer, on loan.
  class Bounce {
   public:
    Bounce(Bounce&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), index_(other.index_) {}
    Bounce& operator=(Bounce&& other) noexcept {
      Bounce old(std::move(*this));
      pool_ = std::exchange(other.pool_, nullptr);
      index_ = other.index_;
      return *this;
    }
    ~Bounce() {
      if (pool_ != nullptr) pool_->give(index_);
    }
    [[nodiscard]] Buffer& operator*() const { return pool_->buffers_[index_]; }
    [[nodiscard]] Buffer* operator->() const { return &pool_->buffers_[index_]; }

   private:
    friend class BouncePool;
    Bounce(BouncePool& pool, std::size_t index) : pool_(&pool), index_(index) {}
    BouncePool* pool_;
    std::size_t index_;
  };

  // Calls `allocate(chunk_bytes)`, which returns Result<Buffer>, `count` times. Fails with its first error.
  template <class Allocate>
  [[nodiscard]] static Result<std::unique_ptr<BouncePool>> create(std::uint64_t chunk_bytes, std::size_t count,
                                                                  Allocate&& allocate) {
    if (chunk_bytes == 0 || count == 0 || count > kMaxBounceBuffers)
      return fail(
          {.code = ErrorCode::invalid_argument,
           .doing = "making the bounce buffers",
           .why = std::to_string(count) + " buffers of " + std::to_string(chunk_bytes) + " bytes were asked for",
           .cure = "ask for 1 to " + std::to_string(kMaxBounceBuffers) + " buffers of at least a byte"});
    std::unique_ptr<BouncePool> pool(new BouncePool(chunk_bytes));
    pool->buffers_.reserve(count);
    pool->free_.reserve(count);
    for (std::size_t index = 0; index < count; ++index) {
      Result<Buffer> buffer = allocate(chunk_bytes);
      if (!buffer) return fail(std::move(buffer.error()));
      pool->buffers_.push_back(std::move(*buffer));
      pool->free_.push_back(count - 1 - index);  // the first one is taken first
    }
    return pool;
  }
  ~BouncePool() { assert(counters_.in_use == 0 && "the pool outlives its buffers"); }

  [[nodiscard]] std::uint64_t chunk_bytes() const { return chunk_bytes_; }
  [[nodiscard]] std::size_t count() const { return buffers_.size(); }

  [[nodiscard]] Result<Bounce> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) {
      ++counters_.refused;
      return fail({.code = ErrorCode::exhausted,
                   .doing = "taking a bounce buffer",
                   .why = "all " + std::to_string(buffers_.size()) + " buffers of " + std::to_string(chunk_bytes_) +
                          " bytes are in use",
                   .cure = "wait for a transfer to finish, or lower the queue depth"});
    }
    const std::size_t index = free_.back();
    free_.pop_back();
    ++counters_.taken;
    if (++counters_.in_use > counters_.most_in_use) counters_.most_in_use = counters_.in_use;
    return Bounce(*this, index);
  }

  [[nodiscard]] BounceCounters counters() const {
    const std::lock_guard lock(mutex_);
    return counters_;
  }

 private:
  explicit BouncePool(std::uint64_t chunk_bytes) : chunk_bytes_(chunk_bytes) {}
  void give(std::size_t index) {
    const std::lock_guard lock(mutex_);
    free_.push_back(index);  // within what was reserved
    --counters_.in_use;
  }

  const std::uint64_t chunk_bytes_;
  std::vector<Buffer> buffers_;
  mutable std::mutex mutex_;
  std::vector<std::size_t> free_;
  BounceCounters counters_;
};

}  // namespace barter::peer
