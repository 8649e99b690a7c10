// Two fences that order each other like two sequentially consistent ones, where one side passes its own all the time and the
// other hardly ever: the light one costs nothing, and the heavy one makes every running thread of the process pass a full fence.
// Where the kernel can't do that (membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED, Linux 4.14), both are full fences.
//
// Threads: any. Neither fails.
#pragma once
#include <atomic>

namespace barter::base {

namespace detail {
extern const bool kHeavyFenceReachesAllThreads;
void full_fence();
}  // namespace detail

inline void light_fence() {
  if (detail::kHeavyFenceReachesAllThreads) [[likely]]
    std::atomic_signal_fence(std::memory_order_seq_cst);
  else
    detail::full_fence();
}
void heavy_fence();

}  // namespace barter::base
