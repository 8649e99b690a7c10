// The status codes of completions (NVMe base 2.0, section 3.3.3.2.1; NVM command set 1.0, section 3.1.2), with names
// for people; describe_status in controller.h puts them into words. The status field is what CommandResult::status
// holds: SC 7:0, SCT 10:8, CRD 12:11, M 13, DNR 14.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "base/register.h"

namespace barter::drivers::nvme {

struct StatusField : base::Register<StatusField, 0, std::uint16_t, base::RegisterAccess::read_only> {
  static constexpr Bit<14> do_not_retry{};
  static constexpr Bit<13> more{};
  static constexpr Bits<12, 11> retry_delay{};
  static constexpr Bits<10, 8> type{};
  static constexpr Bits<7, 0> code{};
};

inline constexpr std::uint8_t kStatusGeneric = 0;
inline constexpr std::uint8_t kStatusCommandSpecific = 1;
inline constexpr std::uint8_t kStatusMedia = 2;
inline constexpr std::uint8_t kStatusPath = 3;
inline constexpr std::uint8_t kStatusVendor = 7;

struct StatusName {
  std::uint8_t type;
  std::uint8_t code;
  std::string_view name;
};
// Every status that the specifications above define for the commands of an NVM controller, in order of type and code.
[[nodiscard]] std::span<const StatusName> status_names();

}  // namespace barter::drivers::nvme
