#include "linux/uring/completion_signal.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>

#include <cerrno>
#include <cstdint>

#include "linux/system_error.h"

namespace barter::linux_os {

Result<CompletionSignal> CompletionSignal::create() {
  Descriptor event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.is_open()) return fail(system_error(errno, "making", "an event to wait for"));
  return CompletionSignal(std::move(event));
}

void CompletionSignal::wait(Duration at_most) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  const std::int64_t nanoseconds = at_most.count();
  const timespec limit{.tv_sec = nanoseconds / kSecond, .tv_nsec = nanoseconds % kSecond};
  pollfd wanted{.fd = event_.number(), .events = POLLIN, .revents = 0};
  if (ppoll(&wanted, 1, &limit, nullptr) <= 0) return;  // time is up, or a signal came: the caller looks either way
  std::uint64_t count = 0;
  static_cast<void>(read(event_.number(), &count, sizeof count));
}

}  // namespace barter::linux_os
