#include "base/log.h"

#include <array>
#include <cstdlib>
#include <memory>
#include <string>

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include "base/printable.h"

namespace barter::base::log {
namespace {

constexpr const char* kVariable = "BARTER_LOG";

constexpr std::array<std::string_view, 6> kWords = {"trace", "debug", "info", "warn", "error", "off"};

constexpr std::array<spdlog::level::level_enum, 6> kLevels = {spdlog::level::trace, spdlog::level::debug,
                                                              spdlog::level::info,  spdlog::level::warn,
                                                              spdlog::level::err,   spdlog::level::off};

spdlog::logger make_logger() {
  // The sink colours the level on a terminal and nowhere else (no-color.org: and not where the user wants none).
  const char* const no_colour = std::getenv("NO_COLOR");
  const bool is_plain = no_colour != nullptr && *no_colour != '\0';
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(is_plain ? spdlog::color_mode::never
                                                                             : spdlog::color_mode::automatic);
  spdlog::logger logger("barter", std::move(sink));
  logger.set_pattern("%Y-%m-%dT%H:%M:%S.%e %n[%P] %^%l%$: %v");
  logger.set_level(spdlog::level::trace);
  logger.flush_on(spdlog::level::trace);
  logger.set_error_handler([](const std::string&) {});
  return logger;
}

Level level_of(const char* word, spdlog::logger& logger) {
  if (word == nullptr || *word == '\0') return Level::warn;
  if (const auto level = parse_level(word)) return *level;
  logger.log(spdlog::level::warn,
             fmt::format("{} is '{}', which is none of trace, debug, info, warn, error and off; it is taken for warn",
                         kVariable, printable(word)));
  return Level::warn;
}

// Made by whoever logs first, and never destroyed: somebody may log while the process ends.
spdlog::logger& the_logger() {
  static spdlog::logger& logger = []() -> spdlog::logger& {
    auto* made = new spdlog::logger(make_logger());
    detail::threshold.store(level_of(std::getenv(kVariable), *made), std::memory_order_relaxed);
    return *made;
  }();
  return logger;
}

}  // namespace

namespace detail {
constinit std::atomic<Level> threshold = Level::trace;
}  // namespace detail

std::optional<Level> parse_level(std::string_view word) {
  for (std::size_t index = 0; index < kWords.size(); ++index)
    if (word == kWords[index]) return static_cast<Level>(index);
  return std::nullopt;
}

void write(Level level, std::string_view text) {
  spdlog::logger& logger = the_logger();
  // Whoever came first may have asked for nothing before the variable was read.
  if (!is_wanted(level) || level == Level::off) return;
  logger.log(kLevels[static_cast<std::size_t>(level)], printable(text));
}

}  // namespace barter::base::log
