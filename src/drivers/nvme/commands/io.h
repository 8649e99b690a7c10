// The I/O commands: Flush (NVMe base 2.0, section 7.1), Read and Write (NVM command set 1.0, sections 3.2.4 and 3.2.6).
#pragma once
#include <cstdint>

#include "drivers/nvme/commands/entry.h"

namespace barter::drivers::nvme {

inline constexpr std::uint8_t kOpcodeFlush = 0x00;
inline constexpr std::uint8_t kOpcodeWrite = 0x01;
inline constexpr std::uint8_t kOpcodeRead = 0x02;

// Dword 12 of Read and Write. Dwords 10 and 11 are the first block.
struct ReadWriteDword12 : base::Register<ReadWriteDword12, 48, std::uint32_t> {
  static constexpr Bit<31> limited_retry{};
  static constexpr Bit<30> force_unit_access{};
  static constexpr Bits<15, 0> blocks_0based{};
};

[[nodiscard]] inline SubmissionEntry flush(std::uint32_t namespace_id) {
  auto entry = SubmissionEntry::with_opcode(kOpcodeFlush);
  entry.namespace_id = namespace_id;
  return entry;
}

struct ReadWrite {
  std::uint8_t opcode;
  std::uint32_t namespace_id;
  std::uint64_t block;
  std::uint32_t blocks;  // 1 to 65536

  [[nodiscard]] SubmissionEntry entry() const {
    auto entry = SubmissionEntry::with_opcode(opcode);
    entry.namespace_id = namespace_id;
    entry.dword10 = static_cast<std::uint32_t>(block);
    entry.dword11 = static_cast<std::uint32_t>(block >> 32);
    entry.dword12 = ReadWriteDword12{}.with(ReadWriteDword12::blocks_0based, blocks - 1).raw;
    return entry;
  }
};

}  // namespace barter::drivers::nvme
