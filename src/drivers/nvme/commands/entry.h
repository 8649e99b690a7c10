// The layouts that all commands share: a submission queue entry (NVMe base 2.0, section 3.3.3.1) and a completion queue
// entry (section 3.3.3.2). Both are little-endian, like every host that this driver is built for.
#pragma once
#include <bit>
#include <cstdint>

#include "base/register.h"

namespace barter::drivers::nvme {

static_assert(std::endian::native == std::endian::little, "the entries are built in place, in the host's byte order");

// Where the data of a command is: PRP1 and PRP2, or one SGL descriptor (sections 4.1.1 and 4.1.2).
struct DataPointer {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  bool is_sgl = false;
};

// Command dword 0.
struct CommandDword0 : base::Register<CommandDword0, 0, std::uint32_t> {
  static constexpr Bits<31, 16> command_id{};
  static constexpr Bits<15, 14> data_pointer_kind{};  // PSDT
  static constexpr Bits<9, 8> fused{};
  static constexpr Bits<7, 0> opcode{};
};
inline constexpr std::uint32_t kDataPointerPrp = 0;
inline constexpr std::uint32_t kDataPointerSgl = 1;  // metadata, if any, would be one contiguous buffer

struct SubmissionEntry {
  std::uint32_t dword0 = 0;
  std::uint32_t namespace_id = 0;
  std::uint32_t dword2 = 0;
  std::uint32_t dword3 = 0;
  std::uint64_t metadata = 0;
  std::uint64_t data_first = 0;
  std::uint64_t data_second = 0;
  std::uint32_t dword10 = 0;
  std::uint32_t dword11 = 0;
  std::uint32_t dword12 = 0;
  std::uint32_t dword13 = 0;
  std::uint32_t dword14 = 0;
  std::uint32_t dword15 = 0;

  [[nodiscard]] static SubmissionEntry with_opcode(std::uint8_t opcode) {
    return {.dword0 = CommandDword0{}.with(CommandDword0::opcode, opcode).raw};
  }
  void set_command_id(std::uint16_t id) {
    dword0 = CommandDword0::from(dword0).with(CommandDword0::command_id, id).raw;
  }
  void set_data(const DataPointer& data) {
    dword0 = CommandDword0::from(dword0)
                 .with(CommandDword0::data_pointer_kind, data.is_sgl ? kDataPointerSgl : kDataPointerPrp)
                 .raw;
    data_first = data.first;
    data_second = data.second;
  }
};
static_assert(sizeof(SubmissionEntry) == 64);
inline constexpr std::uint32_t kSubmissionEntryLog2 = 6;

// Completion dword 2.
struct CompletionDword2 : base::Register<CompletionDword2, 8, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 16> queue_id{};
  static constexpr Bits<15, 0> queue_head{};
};
// Completion dword 3. The phase tells a new entry from an old one, so this dword is read first.
struct CompletionDword3 : base::Register<CompletionDword3, 12, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 17> status{};
  static constexpr Bit<16> phase{};
  static constexpr Bits<15, 0> command_id{};
};

struct alignas(16) CompletionEntry {
  std::uint32_t dword0 = 0;  // depends on the command
  std::uint32_t dword1 = 0;
  std::uint32_t dword2 = 0;
  std::uint32_t dword3 = 0;
};
static_assert(sizeof(CompletionEntry) == 16);
inline constexpr std::uint32_t kCompletionEntryLog2 = 4;

}  // namespace barter::drivers::nvme
