#include "devices/nvme/log_pages.h"

#include <initializer_list>

#include "devices/nvme/features.h"

namespace barter::devices::nvme {
namespace {

constexpr std::uint64_t data_units(std::uint64_t bytes) { return (bytes + 511999) / 512000; }

}  // namespace

void LogPages::add_error(ErrorEntry entry) {
  entry.count = ++error_count_;
  errors_[(error_count_ - 1) % kErrorEntries] = entry;
}

bool LogPages::make(std::uint8_t id, const IoCounters& counters, Content& content) const {
  Page& page = content.page;
  switch (static_cast<LogId>(id)) {
    case LogId::supported_pages:
      for (const std::size_t each : {0x00u, 0x01u, 0x02u, 0x03u, 0x05u, 0x12u})
        page.put<std::uint32_t>(each * 4, 1);  // LSUPP
      content.size_bytes = 1024;
      return true;
    case LogId::error_information:
      put_errors(page);
      content.size_bytes = sizeof(errors_);
      return true;
    case LogId::health:
      put_health(page, counters);
      content.size_bytes = 512;
      return true;
    case LogId::firmware_slots:
      page.put<std::uint8_t>(0, 1);  // slot 1 runs
      page.put_text(8, 8, "1");
      content.size_bytes = 512;
      return true;
    case LogId::commands_and_effects:
      put_commands(page);
      content.size_bytes = 4096;
      return true;
    case LogId::features_and_effects:
      // FSUPP; the scope is the controller (bit 21, within FSP).
      for (std::size_t each = 0; each < 256; ++each) {
        if (Features::supports(static_cast<std::uint8_t>(each))) page.put<std::uint32_t>(each * 4, 1u << 21 | 1);
      }
      content.size_bytes = 1024;
      return true;
  }
  return false;
}

// The newest first.
void LogPages::put_errors(Page& page) const {
  for (std::size_t age = 0; age < kErrorEntries && age < error_count_; ++age) {
    page.put(age * sizeof(ErrorEntry), errors_[(error_count_ - 1 - age) % kErrorEntries]);
  }
}

void LogPages::put_health(Page& page, const IoCounters& counters) const {
  namespace at = health_log;
  page.put<std::uint16_t>(at::kTemperature, 300);
  page.put<std::uint8_t>(at::kSpare, 100);
  page.put<std::uint8_t>(at::kSpareThreshold, 10);
  page.put(at::kUnitsRead, data_units(counters.bytes_read));
  page.put(at::kUnitsWritten, data_units(counters.bytes_written));
  page.put(at::kReadCommands, counters.read_commands);
  page.put(at::kWriteCommands, counters.write_commands);
  page.put<std::uint64_t>(at::kPowerCycles, 1);
  page.put(at::kMediumErrors, counters.medium_errors);
  page.put(at::kErrorLogEntries, error_count_);
}

// 5.16.1.6: bit 0 says supported (CSUPP), bit 1 that it changes blocks (LBCC).
void LogPages::put_commands(Page& page) {
  for (const AdminOpcode each :
       {AdminOpcode::delete_submission_queue, AdminOpcode::create_submission_queue, AdminOpcode::get_log_page,
        AdminOpcode::delete_completion_queue, AdminOpcode::create_completion_queue, AdminOpcode::identify,
        AdminOpcode::abort, AdminOpcode::set_features, AdminOpcode::get_features, AdminOpcode::async_event_request}) {
    page.put<std::uint32_t>(static_cast<std::size_t>(each) * 4, 1);
  }
  constexpr std::size_t kIoCommands = 1024;
  for (const IoOpcode each : {IoOpcode::flush, IoOpcode::read, IoOpcode::compare}) {
    page.put<std::uint32_t>(kIoCommands + static_cast<std::size_t>(each) * 4, 1);
  }
  for (const IoOpcode each : {IoOpcode::write, IoOpcode::write_zeroes, IoOpcode::dataset_management}) {
    page.put<std::uint32_t>(kIoCommands + static_cast<std::size_t>(each) * 4, 3);
  }
}

}  // namespace barter::devices::nvme
