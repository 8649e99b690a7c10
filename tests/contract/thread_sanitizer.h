// A page fault orders two threads: the one that touched, and the one that answers. ThreadSanitizer does not see that, and takes
// what it orders for a race. Tests that have nothing else to order them are skipped under it, and say so.
#pragma once

// The start of ThreadSanitizer's own library, in programs that have it.
extern "C" __attribute__((weak)) void __tsan_init();

namespace barter::contract {

[[nodiscard]] inline bool is_under_thread_sanitizer() { return &__tsan_init != nullptr; }
inline constexpr const char* kNotUnderThreadSanitizer =
    "skipped: ThreadSanitizer does not see that a page fault orders threads";

}  // namespace barter::contract
