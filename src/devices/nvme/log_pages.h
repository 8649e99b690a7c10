// Get Log Page: NVM Express base specification 2.0, section 5.16.
#pragma once
#include <array>
#include <cstdint>

#include "devices/nvme/identify.h"
#include "devices/nvme/io_commands.h"

namespace barter::devices::nvme {

enum class LogId : std::uint8_t {
  supported_pages = 0x00,
  error_information = 0x01,
  health = 0x02,
  firmware_slots = 0x03,
  commands_and_effects = 0x05,
  features_and_effects = 0x12,
};

// 5.16.1.2: one entry of the error information log.
struct ErrorEntry {
  std::uint64_t count = 0;  // 0: no entry
  std::uint16_t submission_queue = 0;
  std::uint16_t command_id = 0;
  std::uint16_t status = 0;  // as in the completion entry, with the phase tag below
  std::uint16_t parameter_location = 0;
  std::uint64_t block = 0;
  std::uint32_t namespace_id = 0;
  std::array<std::uint8_t, 36> reserved{};
};
static_assert(sizeof(ErrorEntry) == 64);

inline constexpr std::size_t kErrorEntries = 64;
inline constexpr std::uint16_t kNoCommand = 0xffff;  // an error that belongs to no command or queue

// 5.16.1.3: SMART / Health Information.
namespace health_log {
inline constexpr std::size_t kTemperature = 1;  // composite, kelvin
inline constexpr std::size_t kSpare = 3;        // percent
inline constexpr std::size_t kSpareThreshold = 4;
inline constexpr std::size_t kUnitsRead = 32;  // of 512,000 bytes, rounded up
inline constexpr std::size_t kUnitsWritten = 48;
inline constexpr std::size_t kReadCommands = 64;
inline constexpr std::size_t kWriteCommands = 80;
inline constexpr std::size_t kPowerCycles = 112;
inline constexpr std::size_t kUnsafeShutdowns = 144;
inline constexpr std::size_t kMediumErrors = 160;
inline constexpr std::size_t kErrorLogEntries = 176;
}  // namespace health_log

class LogPages {
 public:
  void add_error(ErrorEntry entry);
  void reset() { errors_ = {}; }  // the count of all errors goes on, as the specification wants it

  // The page's bytes and how many of its 4096 are real. False for a page that there isn't.
  struct Content {
    Page page;
    std::size_t size_bytes = 0;
  };
  [[nodiscard]] bool make(std::uint8_t id, const IoCounters& counters, Content& content) const;

 private:
  void put_errors(Page& page) const;
  void put_health(Page& page, const IoCounters& counters) const;
  static void put_commands(Page& page);

  std::array<ErrorEntry, kErrorEntries> errors_{};  // the newest at (error_count_ - 1) % kErrorEntries
  std::uint64_t error_count_ = 0;
};

}  // namespace barter::devices::nvme
