#include "linux/userfault/user_fault.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "linux/system_error.h"
#include "peer/pool.h"

namespace barter::linux_os {
namespace {

using peer::kPageBytes;
using peer::PageRun;

constexpr const char* kMaking = "making memory whose pages can move";
constexpr std::size_t kFaultsAtOnce = 16;

std::uint64_t address_of(const std::byte* at) { return reinterpret_cast<std::uintptr_t>(at); }

std::span<std::byte> as_span(void* at, std::uint64_t bytes) { return {static_cast<std::byte*>(at), bytes}; }

}  // namespace

Result<std::unique_ptr<UserFault>> UserFault::create(std::uint64_t bytes, std::span<std::byte> place) {
  const bool is_odd_place = !place.empty() && (place.size() != bytes || address_of(place.data()) % kPageBytes != 0);
  if (bytes == 0 || bytes % kPageBytes != 0 || bytes > kMaxFaultedBytes || is_odd_place)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = kMaking,
                 .subject = fmt::format("of {} bytes", bytes),
                 .why = is_odd_place ? "the place for its second view is not as large, or not on a page"
                                     : fmt::format("it must be whole pages of {} bytes, and at most {} bytes",
                                                   kPageBytes, kMaxFaultedBytes)});
  std::unique_ptr<UserFault> made(new UserFault);
  if (auto opened = made->open_userfaultfd(); !opened) return std::unexpected(std::move(opened.error()));
  if (auto mapped = made->map(bytes, place); !mapped) return std::unexpected(std::move(mapped.error()));
  return made;
}

// The kernel's own touches are served too where that is allowed; else only those of the program.
Result<void> UserFault::open_userfaultfd() {
  const auto ask = [](int flags) {
    return Descriptor(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags)));
  };
  faults_ = ask(0);
  if (!faults_.is_open() && errno == EPERM) {
    kernel_touches_wait_ = false;
    faults_ = ask(UFFD_USER_MODE_ONLY);
  }
  if (!faults_.is_open()) {
    Error error = system_error(errno, kMaking, "");
    if (error.code == ErrorCode::unsupported) error.why = "this kernel has no userfaultfd (CONFIG_USERFAULTFD)";
    if (error.code == ErrorCode::refused) {
      error.why = "userfaultfd is not allowed here";
      error.cure =
          "set vm.unprivileged_userfaultfd to 1, give the program CAP_SYS_PTRACE, or let the container's seccomp "
          "profile pass userfaultfd";
    }
    return fail(std::move(error));
  }
  constexpr std::uint64_t kNeeded = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM;
  uffdio_api api{.api = UFFD_API, .features = kNeeded, .ioctls = 0};
  if (ioctl(faults_.number(), UFFDIO_API, &api) != 0 || (api.features & kNeeded) != kNeeded)
    return fail({.code = ErrorCode::unsupported,
                 .doing = kMaking,
                 .why = "this kernel's userfaultfd does not report minor faults of shared memory",
                 .cure = "use kernel 5.14 or later"});
  return {};
}

Result<void> UserFault::map(std::uint64_t bytes, std::span<std::byte> place) {
  const std::string subject = fmt::format("of {} bytes", bytes);
  memory_ = Descriptor(memfd_create("barter-managed", MFD_CLOEXEC));
  stop_ = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!memory_.is_open() || !stop_.is_open() || ftruncate(memory_.number(), static_cast<off_t>(bytes)) != 0)
    return fail(system_error(errno, kMaking, subject));
  constexpr int kAccess = PROT_READ | PROT_WRITE;
  void* const program = mmap(nullptr, bytes, kAccess, MAP_SHARED | MAP_NORESERVE, memory_.number(), 0);
  if (program == MAP_FAILED) return fail(system_error(errno, kMaking, subject));
  program_ = as_span(program, bytes);
  if (madvise(program, bytes, MADV_DONTFORK) != 0) return fail(system_error(errno, kMaking, subject));
  void* const behind = mmap(place.empty() ? nullptr : place.data(), bytes, kAccess,
                            MAP_SHARED | MAP_NORESERVE | (place.empty() ? 0 : MAP_FIXED), memory_.number(), 0);
  if (behind == MAP_FAILED) return fail(system_error(errno, kMaking, subject));
  behind_ = as_span(behind, bytes);
  behind_is_lent_ = !place.empty();
  return {};
}

void UserFault::stop() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  while (write(stop_.number(), &one, sizeof one) < 0 && errno == EINTR) {
  }
  thread_.join();
}

UserFault::~UserFault() {
  UserFault::stop();
  faults_ = {};
  if (!program_.empty()) munmap(program_.data(), program_.size());
  if (behind_.empty()) return;
  if (!behind_is_lent_) {
    munmap(behind_.data(), behind_.size());
  } else if (mmap(behind_.data(), behind_.size(), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
    // The place keeps the memfd's pages: as good as its own, if they are as empty.
    std::ranges::fill(behind_, std::byte{0});
  }
}

std::span<std::byte> UserFault::part_of(std::span<std::byte> view, PageRun pages) const {
  return view.subspan(pages.first * kPageBytes, pages.count * kPageBytes);
}

Result<void> UserFault::check(PageRun pages, const char* doing) const {
  const std::uint64_t all = program_.size() / kPageBytes;
  if (pages.count != 0 && pages.first < all && pages.count <= all - pages.first) return {};
  return fail({.code = ErrorCode::out_of_range,
               .doing = doing,
               .subject = "managed memory",
               .why = fmt::format("{} pages from {} on are not within its {} pages", pages.count, pages.first, all)});
}

Result<void> UserFault::start(OnFault on_fault) {
  if (thread_.joinable())
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "answering page faults of",
                 .subject = "managed memory",
                 .why = "somebody answers them already"});
  on_fault_ = std::move(on_fault);
  thread_ = std::thread([this] { serve(); });
  return {};
}

Result<void> UserFault::watch(std::span<std::byte> part) {
  uffdio_register wanted{.range = {.start = address_of(part.data()), .len = part.size()},
                         .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
                         .ioctls = 0};
  if (ioctl(faults_.number(), UFFDIO_REGISTER, &wanted) == 0) return {};
  return fail(system_error(errno, "watching the page faults of", "managed memory"));
}

Result<void> UserFault::watch_all() {
  if (watched_.load(std::memory_order_acquire)) return {};
  const std::lock_guard lock(watch_mutex_);
  if (watched_.load(std::memory_order_relaxed)) return {};
  if (!thread_.joinable())
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "closing pages of",
                 .subject = "managed memory",
                 .why = "nobody answers its page faults yet"});
  if (auto watched = watch(program_); !watched) return watched;
  watched_.store(true, std::memory_order_release);
  return {};
}

Result<void> UserFault::close(PageRun pages) {
  constexpr const char* kDoing = "closing pages of";
  if (auto checked = check(pages, kDoing); !checked) return checked;
  if (auto watched = watch_all(); !watched) return watched;
  const std::span<std::byte> part = part_of(program_, pages);
  // The bytes stay, in the memfd: only this mapping forgets them.
  if (madvise(part.data(), part.size(), MADV_DONTNEED) == 0) return {};
  return fail(system_error(errno, kDoing, "managed memory"));
}

Result<void> UserFault::open(PageRun pages) {
  constexpr const char* kDoing = "opening pages of";
  if (auto checked = check(pages, kDoing); !checked) return checked;
  if (!watched_.load(std::memory_order_acquire)) return {};
  // Only a page that exists can be mapped: one that was never written is made. Not by a look, because others write there.
  const std::span<std::byte> behind = part_of(behind_, pages);
  if (madvise(behind.data(), behind.size(), MADV_POPULATE_READ) != 0)
    return fail(system_error(errno, kDoing, "managed memory"));
  const std::span<std::byte> part = part_of(program_, pages);
  std::uint64_t done = 0;
  while (done < part.size()) {
    uffdio_continue wanted{
        .range = {.start = address_of(part.data()) + done, .len = part.size() - done}, .mode = 0, .mapped = 0};
    if (ioctl(faults_.number(), UFFDIO_CONTINUE, &wanted) == 0) return {};
    const int reason = errno;
    if (wanted.mapped > 0) {
      done += static_cast<std::uint64_t>(wanted.mapped);
    } else if (reason == EEXIST) {  // it is open already; somebody may have come too late to see that
      wake({pages.first + done / kPageBytes, 1});
      done += kPageBytes;
    } else if (reason != EAGAIN) {
      return fail(system_error(reason, kDoing, "managed memory"));
    }
  }
  return {};
}

void UserFault::wake(PageRun pages) {
  const std::span<std::byte> part = part_of(program_, pages);
  uffdio_range range{.start = address_of(part.data()), .len = part.size()};
  // Its one error is a range that is none.
  static_cast<void>(ioctl(faults_.number(), UFFDIO_WAKE, &range));
}

Result<void> UserFault::discard(PageRun pages) {
  constexpr const char* kDoing = "giving back the host memory of";
  if (auto checked = check(pages, kDoing); !checked) return checked;
  while (fallocate(memory_.number(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                   static_cast<off_t>(pages.first * kPageBytes), static_cast<off_t>(pages.count * kPageBytes)) != 0)
    if (errno != EINTR) return fail(system_error(errno, kDoing, "managed memory"));
  return {};
}

// A mapping of an empty file takes the place of these pages: every touch lies behind its end.
Result<void> UserFault::lose(PageRun pages) {
  constexpr const char* kDoing = "marking lost pages of";
  if (auto checked = check(pages, kDoing); !checked) return checked;
  const std::span<std::byte> part = part_of(program_, pages);
  const Descriptor empty(memfd_create("barter-lost", MFD_CLOEXEC));
  if (!empty.is_open() ||
      mmap(part.data(), part.size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, empty.number(), 0) == MAP_FAILED)
    return fail(system_error(errno, kDoing, "managed memory"));
  static_cast<void>(madvise(part.data(), part.size(), MADV_DONTFORK));  // a child would get SIGBUS, and not SIGSEGV
  wake(pages);
  return discard(pages);
}

Result<void> UserFault::renew(PageRun pages) {
  constexpr const char* kDoing = "renewing lost pages of";
  if (auto checked = check(pages, kDoing); !checked) return checked;
  if (auto discarded = discard(pages); !discarded) return discarded;
  const std::span<std::byte> part = part_of(program_, pages);
  if (mmap(part.data(), part.size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, memory_.number(),
           static_cast<off_t>(pages.first * kPageBytes)) == MAP_FAILED ||
      madvise(part.data(), part.size(), MADV_DONTFORK) != 0)
    return fail(system_error(errno, kDoing, "managed memory"));
  return watch(part);
}

void UserFault::serve() {
  std::array<pollfd, 2> waits{pollfd{.fd = faults_.number(), .events = POLLIN, .revents = 0},
                              pollfd{.fd = stop_.number(), .events = POLLIN, .revents = 0}};
  while (true) {
    if (poll(waits.data(), waits.size(), -1) < 0) continue;  // a signal
    if (waits[1].revents != 0) return;
    if (waits[0].revents != 0) read_faults();
  }
}

void UserFault::read_faults() {
  std::array<uffd_msg, kFaultsAtOnce> messages;
  const ssize_t got = read(faults_.number(), messages.data(), sizeof messages);
  if (got < 0) return;  // somebody has woken the thread meanwhile
  const std::uint64_t start = address_of(program_.data());
  for (std::size_t index = 0; index < static_cast<std::size_t>(got) / sizeof(uffd_msg); ++index) {
    if (messages[index].event != UFFD_EVENT_PAGEFAULT) continue;
    const std::uint64_t offset = messages[index].arg.pagefault.address - start;
    if (offset < program_.size()) on_fault_(offset / kPageBytes);
  }
}

}  // namespace barter::linux_os
