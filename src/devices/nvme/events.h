// Asynchronous Event Requests: NVM Express base specification 2.0, section 5.2. The controller holds them until it has an
// event to report; an event type is then masked until the host has read its log page.
#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "devices/nvme/log_pages.h"

namespace barter::devices::nvme {

// The error status type (5.2.1) is the only one that this controller ever reports.
enum class ErrorEvent : std::uint8_t { invalid_doorbell_register = 0, invalid_doorbell_value = 1 };

class Events {
 public:
  static constexpr std::size_t kMaxRequests = 4;  // Identify's AERL, plus one

  void reset() { *this = Events(); }

  // False when there are too many (Asynchronous Event Request Limit Exceeded).
  [[nodiscard]] bool hold(std::uint16_t command_id) {
    if (requests_ == kMaxRequests) return false;
    held_[requests_++] = command_id;
    return true;
  }
  [[nodiscard]] bool holds(std::uint16_t command_id) const {
    for (std::size_t each = 0; each < requests_; ++each) {
      if (held_[each] == command_id) return true;
    }
    return false;
  }
  // Gives one request back, for Abort. False when it isn't held.
  [[nodiscard]] bool release(std::uint16_t command_id) {
    for (std::size_t each = 0; each < requests_; ++each) {
      if (held_[each] != command_id) continue;
      remove(each);
      return true;
    }
    return false;
  }

  void raise(std::uint32_t error_events) { pending_ |= error_events; }
  void log_was_read(LogId page) {
    if (page == LogId::error_information) is_masked_ = false;
  }

  struct Report {
    std::uint16_t command_id = 0;
    std::uint32_t result = 0;
  };
  // An event and a request to tell it with, if there are both.
  [[nodiscard]] std::optional<Report> take() {
    if (pending_ == 0 || is_masked_ || requests_ == 0) return std::nullopt;
    const bool is_register = (pending_ & 1u << static_cast<unsigned>(ErrorEvent::invalid_doorbell_register)) != 0;
    const auto event = is_register ? ErrorEvent::invalid_doorbell_register : ErrorEvent::invalid_doorbell_value;
    pending_ &= ~(1u << static_cast<unsigned>(event));
    is_masked_ = true;
    const std::uint16_t command_id = held_[0];
    remove(0);
    // Bits 23:16 name the log page, 15:8 the event, 2:0 the type, which is 0.
    const auto page = static_cast<std::uint32_t>(LogId::error_information);
    return Report{command_id, page << 16 | static_cast<std::uint32_t>(event) << 8};
  }

 private:
  void remove(std::size_t index) {
    for (; index + 1 < requests_; ++index) held_[index] = held_[index + 1];
    --requests_;
  }
  std::array<std::uint16_t, kMaxRequests> held_{};
  std::size_t requests_ = 0;
  std::uint32_t pending_ = 0;
  bool is_masked_ = false;
};

}  // namespace barter::devices::nvme
