// Admin commands that make and unmake I/O queues (NVMe base 2.0, sections 5.4 to 5.7).
#pragma once
#include <cstdint>
#include <optional>

#include "barter/address.hpp"
#include "drivers/nvme/commands/entry.h"

namespace barter::drivers::nvme {

inline constexpr std::uint8_t kOpcodeDeleteSubmissionQueue = 0x00;
inline constexpr std::uint8_t kOpcodeCreateSubmissionQueue = 0x01;
inline constexpr std::uint8_t kOpcodeDeleteCompletionQueue = 0x04;
inline constexpr std::uint8_t kOpcodeCreateCompletionQueue = 0x05;

// Dword 10 of both Create commands; the Delete commands use the low half.
struct QueueDword10 : base::Register<QueueDword10, 40, std::uint32_t> {
  static constexpr Bits<31, 16> entries_0based{};
  static constexpr Bits<15, 0> queue_id{};
};
// Section 5.4.
struct CreateCompletionQueueDword11 : base::Register<CreateCompletionQueueDword11, 44, std::uint32_t> {
  static constexpr Bits<31, 16> interrupt_vector{};
  static constexpr Bit<1> interrupts_enabled{};
  static constexpr Bit<0> physically_contiguous{};
};
// Section 5.5.
struct CreateSubmissionQueueDword11 : base::Register<CreateSubmissionQueueDword11, 44, std::uint32_t> {
  static constexpr Bits<31, 16> completion_queue_id{};
  static constexpr Bits<2, 1> priority{};
  static constexpr Bit<0> physically_contiguous{};
};

struct CreateCompletionQueue {
  std::uint16_t queue_id;
  std::uint16_t entries;
  DmaAddress ring;
  std::optional<std::uint16_t> interrupt_vector;

  [[nodiscard]] SubmissionEntry entry() const {
    using Dword11 = CreateCompletionQueueDword11;
    auto entry = SubmissionEntry::with_opcode(kOpcodeCreateCompletionQueue);
    entry.data_first = ring.value;
    entry.dword10 =
        QueueDword10{}.with(QueueDword10::entries_0based, entries - 1u).with(QueueDword10::queue_id, queue_id).raw;
    entry.dword11 = Dword11{}
                        .with(Dword11::interrupt_vector, interrupt_vector.value_or(0))
                        .with(Dword11::interrupts_enabled, interrupt_vector.has_value())
                        .with(Dword11::physically_contiguous, true)
                        .raw;
    return entry;
  }
};

struct CreateSubmissionQueue {
  std::uint16_t queue_id;
  std::uint16_t completion_queue_id;
  std::uint16_t entries;
  DmaAddress ring;

  [[nodiscard]] SubmissionEntry entry() const {
    using Dword11 = CreateSubmissionQueueDword11;
    auto entry = SubmissionEntry::with_opcode(kOpcodeCreateSubmissionQueue);
    entry.data_first = ring.value;
    entry.dword10 =
        QueueDword10{}.with(QueueDword10::entries_0based, entries - 1u).with(QueueDword10::queue_id, queue_id).raw;
    entry.dword11 = Dword11{}
                        .with(Dword11::completion_queue_id, completion_queue_id)
                        .with(Dword11::physically_contiguous, true)
                        .raw;
    return entry;
  }
};

// Sections 5.6 and 5.7. A submission queue goes before the completion queue that it completes to.
[[nodiscard]] inline SubmissionEntry delete_submission_queue(std::uint16_t queue_id) {
  auto entry = SubmissionEntry::with_opcode(kOpcodeDeleteSubmissionQueue);
  entry.dword10 = QueueDword10{}.with(QueueDword10::queue_id, queue_id).raw;
  return entry;
}
[[nodiscard]] inline SubmissionEntry delete_completion_queue(std::uint16_t queue_id) {
  auto entry = SubmissionEntry::with_opcode(kOpcodeDeleteCompletionQueue);
  entry.dword10 = QueueDword10{}.with(QueueDword10::queue_id, queue_id).raw;
  return entry;
}

}  // namespace barter::drivers::nvme
