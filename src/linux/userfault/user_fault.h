// peer::FaultSource by Linux's userfaultfd. Nothing is registered before the first page is closed, so a program that fills
// its memory first pays for nothing but ordinary page faults.
//
// A child of fork() does not inherit the program's mapping: it would touch it with nobody to answer.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>

#include "linux/descriptor.h"
#include "peer/fault_source.h"

namespace barter::linux_os {

inline constexpr std::uint64_t kMaxFaultedBytes = std::uint64_t{1} << 42;

class UserFault final : public peer::FaultSource {
 public:
  // `bytes` are whole pages. `place` is where the second view is to be: mapped memory of that size, whole pages, which is
  // replaced, and is zeroed private memory again afterwards. It outlives the result. Empty: anywhere.
  // Errors: unsupported where the kernel has no userfaultfd, or one that is too old; refused where it isn't allowed.
  [[nodiscard]] static Result<std::unique_ptr<UserFault>> create(std::uint64_t bytes, std::span<std::byte> place = {});
  ~UserFault() override;
  UserFault(const UserFault&) = delete;
  UserFault& operator=(const UserFault&) = delete;

  [[nodiscard]] std::span<std::byte> program_bytes() const override { return program_; }
  [[nodiscard]] std::span<std::byte> behind_bytes() const override { return behind_; }
  [[nodiscard]] bool kernel_touches_wait() const override { return kernel_touches_wait_; }
  [[nodiscard]] Result<void> start(OnFault on_fault) override;
  void stop() override;
  [[nodiscard]] Result<void> close(peer::PageRun pages) override;
  [[nodiscard]] Result<void> open(peer::PageRun pages) override;
  void wake(peer::PageRun pages) override;
  [[nodiscard]] Result<void> discard(peer::PageRun pages) override;
  [[nodiscard]] Result<void> lose(peer::PageRun pages) override;
  [[nodiscard]] Result<void> renew(peer::PageRun pages) override;

 private:
  UserFault() = default;
  [[nodiscard]] Result<void> open_userfaultfd();
  [[nodiscard]] Result<void> map(std::uint64_t bytes, std::span<std::byte> place);
  [[nodiscard]] Result<void> watch(std::span<std::byte> part);
  [[nodiscard]] Result<void> watch_all();
  [[nodiscard]] Result<void> check(peer::PageRun pages, const char* doing) const;
  [[nodiscard]] std::span<std::byte> part_of(std::span<std::byte> view, peer::PageRun pages) const;
  void serve();
  void read_faults();

  Descriptor memory_;
  Descriptor faults_;
  Descriptor stop_;  // an eventfd that ends the thread
  bool kernel_touches_wait_ = true;
  bool behind_is_lent_ = false;  // its place belongs to somebody else
  std::span<std::byte> program_;
  std::span<std::byte> behind_;
  std::mutex watch_mutex_;
  std::atomic<bool> watched_ = false;
  OnFault on_fault_;
  std::thread thread_;
};

}  // namespace barter::linux_os
