// How a command ended: NVM Express base specification 2.0, section 3.3.3.2.1, and the NVM command set
// specification 1.0, section 3.1.
#pragma once
#include <cstdint>

namespace barter::devices::nvme {

// The completion entry's status field without its phase tag: DNR, M, CRD, SCT and SC from bit 14 down.
struct Status {
  std::uint16_t value = 0;
  [[nodiscard]] constexpr bool is_success() const { return (value & 0x7ff) == 0; }
  friend constexpr bool operator==(Status, Status) = default;
};

namespace status {

inline constexpr std::uint16_t kDoNotRetry = 0x4000;
inline constexpr std::uint16_t kMore = 0x2000;  // the error log has more about it

constexpr Status final_status(std::uint16_t type, std::uint16_t code) {
  return {static_cast<std::uint16_t>(kDoNotRetry | type << 8 | code)};
}
constexpr Status passing_status(std::uint16_t type, std::uint16_t code) {
  return {static_cast<std::uint16_t>(type << 8 | code)};
}

inline constexpr Status kSuccess{};

// Generic command status. A retry of what can't be right is pointless, hence DNR.
inline constexpr Status kInvalidOpcode = final_status(0, 0x01);
inline constexpr Status kInvalidField = final_status(0, 0x02);
inline constexpr Status kCommandIdConflict = final_status(0, 0x03);
inline constexpr Status kDataTransferError = passing_status(0, 0x04);
inline constexpr Status kInternalError = passing_status(0, 0x06);
inline constexpr Status kAbortRequested = passing_status(0, 0x07);
inline constexpr Status kInvalidNamespace = final_status(0, 0x0b);
inline constexpr Status kCommandSequenceError = final_status(0, 0x0c);
inline constexpr Status kInvalidSglSegment = final_status(0, 0x0d);
inline constexpr Status kInvalidSglCount = final_status(0, 0x0e);
inline constexpr Status kSglLengthInvalid = final_status(0, 0x0f);
inline constexpr Status kSglTypeInvalid = final_status(0, 0x11);
inline constexpr Status kInvalidUseOfBuffer = final_status(0, 0x12);
inline constexpr Status kPrpOffsetInvalid = final_status(0, 0x13);
inline constexpr Status kWriteProtected = final_status(0, 0x20);
inline constexpr Status kLbaOutOfRange = final_status(0, 0x80);

// Command specific status.
inline constexpr Status kCompletionQueueInvalid = final_status(1, 0x00);
inline constexpr Status kInvalidQueueId = final_status(1, 0x01);
inline constexpr Status kInvalidQueueSize = final_status(1, 0x02);
inline constexpr Status kAsyncEventLimit = final_status(1, 0x05);
inline constexpr Status kInvalidVector = final_status(1, 0x08);
inline constexpr Status kInvalidLogPage = final_status(1, 0x09);
inline constexpr Status kInvalidQueueDeletion = final_status(1, 0x0c);
inline constexpr Status kFeatureNotSaveable = final_status(1, 0x0d);
inline constexpr Status kFeatureNotChangeable = final_status(1, 0x0e);

// Media and data integrity errors.
inline constexpr Status kWriteFault = passing_status(2, 0x80);
inline constexpr Status kUnrecoveredReadError = passing_status(2, 0x81);
inline constexpr Status kCompareFailure = final_status(2, 0x85);

}  // namespace status
}  // namespace barter::devices::nvme
