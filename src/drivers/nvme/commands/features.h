// Set Features (NVMe base 2.0, section 5.27), of which the driver needs one: the number of queues (5.27.1.5).
#pragma once
#include <algorithm>
#include <cstdint>

#include "drivers/nvme/commands/entry.h"

namespace barter::drivers::nvme {

inline constexpr std::uint8_t kOpcodeSetFeatures = 0x09;

struct FeatureDword10 : base::Register<FeatureDword10, 40, std::uint32_t> {
  static constexpr Bit<31> save{};
  static constexpr Bits<7, 0> feature{};
};
inline constexpr std::uint32_t kFeatureNumberOfQueues = 0x07;

// Dword 11 of the request, and dword 0 of the completion, which may grant more or less than was asked for.
struct NumberOfQueues : base::Register<NumberOfQueues, 44, std::uint32_t> {
  static constexpr Bits<31, 16> completion_queues_0based{};
  static constexpr Bits<15, 0> submission_queues_0based{};
  [[nodiscard]] constexpr std::uint32_t pairs() const {
    return std::min(get(completion_queues_0based), get(submission_queues_0based)) + 1;
  }
};

// From 1 to 65535 pairs.
[[nodiscard]] inline SubmissionEntry set_number_of_queues(std::uint16_t pairs) {
  auto entry = SubmissionEntry::with_opcode(kOpcodeSetFeatures);
  entry.dword10 = FeatureDword10{}.with(FeatureDword10::feature, kFeatureNumberOfQueues).raw;
  entry.dword11 = NumberOfQueues{}
                      .with(NumberOfQueues::completion_queues_0based, pairs - 1u)
                      .with(NumberOfQueues::submission_queues_0based, pairs - 1u)
                      .raw;
  return entry;
}

}  // namespace barter::drivers::nvme
