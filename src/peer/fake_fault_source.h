// A FaultSource for tests, with no page faults behind it: the test says touch(page) where a program would touch the memory.
// There is one view; that nobody looks at closed pages is the test's business.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "peer/fault_source.h"
#include "peer/pool.h"

namespace barter::peer::test {

class FakeFaultSource final : public FaultSource {
 public:
  explicit FakeFaultSource(std::uint64_t bytes)
      : memory_(static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kPageBytes}))),
        bytes_(bytes),
        states_(bytes / kPageBytes, State::open) {
    std::memset(memory_.get(), 0, bytes);
  }
  ~FakeFaultSource() override { FakeFaultSource::stop(); }

  // What an access by a program does. False: the page is lost, and the program would get SIGBUS.
  [[nodiscard]] bool touch(std::uint64_t page) {
    std::unique_lock lock(mutex_);
    while (states_[page] == State::closed) {
      faults_.push_back(page);
      ++faults_seen_;
      changed_.notify_all();
      const std::uint64_t before = wakes_;
      changed_.wait(lock, [&] { return wakes_ != before || states_[page] != State::closed; });
    }
    return states_[page] == State::open;
  }
  [[nodiscard]] bool is_open(std::uint64_t page) {
    const std::lock_guard lock(mutex_);
    return states_[page] == State::open;
  }
  [[nodiscard]] std::uint64_t faults_seen() {
    const std::lock_guard lock(mutex_);
    return faults_seen_;
  }
  bool fails_to_open = false;  // open() is an error from now on

  [[nodiscard]] std::span<std::byte> program_bytes() const override { return {memory_.get(), bytes_}; }
  [[nodiscard]] std::span<std::byte> behind_bytes() const override { return {memory_.get(), bytes_}; }
  [[nodiscard]] bool kernel_touches_wait() const override { return true; }

  [[nodiscard]] Result<void> start(OnFault on_fault) override {
    if (thread_.joinable()) return refuse(ErrorCode::invalid_argument, "somebody answers faults already");
    on_fault_ = std::move(on_fault);
    thread_ = std::thread([this] { serve(); });
    return {};
  }
  void stop() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] Result<void> close(PageRun pages) override {
    if (!thread_.joinable()) return refuse(ErrorCode::invalid_argument, "nobody answers faults yet");
    return set(pages, State::closed);
  }
  [[nodiscard]] Result<void> open(PageRun pages) override {
    if (fails_to_open) return refuse(ErrorCode::exhausted, "the test wants it so");
    return set(pages, State::open);
  }
  void wake(PageRun) override {
    const std::lock_guard lock(mutex_);
    ++wakes_;
    changed_.notify_all();
  }
  [[nodiscard]] Result<void> discard(PageRun pages) override {
    if (!is_within(pages)) return refuse(ErrorCode::out_of_range, "there are no such pages");
    std::memset(memory_.get() + pages.first * kPageBytes, 0, pages.count * kPageBytes);
    return {};
  }
  [[nodiscard]] Result<void> lose(PageRun pages) override { return set(pages, State::lost); }
  [[nodiscard]] Result<void> renew(PageRun pages) override {
    if (auto discarded = discard(pages); !discarded) return discarded;
    return set(pages, State::open);
  }

 private:
  enum class State : std::uint8_t { open, closed, lost };
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t{kPageBytes}); }
  };

  [[nodiscard]] static std::unexpected<Error> refuse(ErrorCode code, const char* why) {
    return fail({.code = code, .doing = "faking page faults", .why = why});
  }
  [[nodiscard]] bool is_within(PageRun pages) const {
    return pages.count != 0 && pages.first < states_.size() && pages.count <= states_.size() - pages.first;
  }
  [[nodiscard]] Result<void> set(PageRun pages, State state) {
    if (!is_within(pages)) return refuse(ErrorCode::out_of_range, "there are no such pages");
    const std::lock_guard lock(mutex_);
    for (std::uint64_t page = pages.first; page < pages.first + pages.count; ++page) states_[page] = state;
    ++wakes_;  // who waits looks again, even if the page is closed once more by then
    changed_.notify_all();
    return {};
  }
  void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stopping_ || !faults_.empty(); });
      if (stopping_) return;
      const std::uint64_t page = faults_.front();
      faults_.pop_front();
      lock.unlock();
      on_fault_(page);
      lock.lock();
    }
  }

  std::unique_ptr<std::byte, Free> memory_;
  std::uint64_t bytes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<State> states_;
  std::deque<std::uint64_t> faults_;
  std::uint64_t faults_seen_ = 0;
  std::uint64_t wakes_ = 0;
  bool stopping_ = false;
  OnFault on_fault_;
  std::thread thread_;
};

}  // namespace barter::peer::test
