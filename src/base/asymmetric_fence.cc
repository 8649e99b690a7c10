#include "base/asymmetric_fence.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace barter::base {
namespace {

bool membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0) == 0; }

}  // namespace

namespace detail {

const bool kHeavyFenceReachesAllThreads = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);

// The builtin, because ThreadSanitizer knows no std::atomic_thread_fence.
void full_fence() { __sync_synchronize(); }

}  // namespace detail

void heavy_fence() {
  if (!detail::kHeavyFenceReachesAllThreads || !membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) detail::full_fence();
}

}  // namespace barter::base
