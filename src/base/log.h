// What an engineer wants to know afterwards: what was opened, which way was taken and why, what was taken back, what failed.
// One line for each, on standard error.
//
//   base::log::info("{} is up at {}", name, bdf.to_string());
//
// The environment variable BARTER_LOG says how much: trace, debug, info, warn, error or off; without it, warn. It is read when
// something is first to be logged. A word that is none of these is a warning, once.
//
// A message that nobody wants costs one relaxed load. All the same: nothing for each chunk, command or lease, unless it is
// `trace`. What went wrong is returned as an Error as ever; the log tells what no error does, and never instead of one.
//
// Threads: any. Nothing here throws or fails; a message that can't be written is lost.
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace barter::base::log {

enum class Level : std::uint8_t { trace, debug, info, warn, error, off };

[[nodiscard]] std::optional<Level> parse_level(std::string_view word);

namespace detail {
// Messages of a lower level are not wanted. At first everything is, so that the first message reads the variable.
extern std::atomic<Level> threshold;
}  // namespace detail

[[nodiscard]] inline bool is_wanted(Level level) { return level >= detail::threshold.load(std::memory_order_relaxed); }

// Control characters, which text from devices and files may have, become '?'.
void write(Level level, std::string_view text);

template <class... Parts>
void debug(fmt::format_string<Parts...> format, Parts&&... parts) {
  if (is_wanted(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Parts>(parts)...));
}
template <class... Parts>
void info(fmt::format_string<Parts...> format, Parts&&... parts) {
  if (is_wanted(Level::info)) write(Level::info, fmt::format(format, std::forward<Parts>(parts)...));
}
template <class... Parts>
void warn(fmt::format_string<Parts...> format, Parts&&... parts) {
  if (is_wanted(Level::warn)) write(Level::warn, fmt::format(format, std::forward<Parts>(parts)...));
}

}  // namespace barter::base::log
