#include "base/this_thread.h"

#include <atomic>

namespace barter::base::detail {
namespace {

std::atomic<std::uint32_t> last = 0;

}  // namespace

constinit thread_local std::uint32_t thread_number = 0;

std::uint32_t number_thread() {
  std::uint32_t seen = last.load(std::memory_order_relaxed);
  while (seen != kUncounted && !last.compare_exchange_weak(seen, seen + 1, std::memory_order_relaxed)) {
  }
  return thread_number = seen == kUncounted ? kUncounted : seen + 1;
}

}  // namespace barter::base::detail
