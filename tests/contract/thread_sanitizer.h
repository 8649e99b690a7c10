// A page fault orders two threads: the one that touched, and the one that answers. ThreadSanitizer does not see that, and takes
// what it orders for a race. Tests that have nothing else to order them are skipped under it, and say so.
#pragma once

namespace barter::contract {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kUnderThreadSanitizer = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool kUnderThreadSanitizer = true;
#else
inline constexpr bool kUnderThreadSanitizer = false;
#endif
#else
inline constexpr bool kUnderThreadSanitizer = false;
#endif
inline constexpr const char* kNotUnderThreadSanitizer =
    "skipped: ThreadSanitizer does not see that a page fault orders threads";

}  // namespace barter::contract
