// Submission and completion entries and what the commands put into their dwords. NVM Express base specification 2.0,
// sections 3.3.3 (entries) and 5 (admin commands), and NVM command set specification 1.0, section 3 (I/O commands).
// A dword of a command is written as a register whose offset is its place in the entry.
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/register.h"
#include "devices/nvme/status.h"

namespace barter::devices::nvme {

static_assert(std::endian::native == std::endian::little, "entries are little-endian and used as they lie in memory");

// Base 2.0, section 5 (admin), and NVM command set 1.0, section 3 (I/O).
enum class AdminOpcode : std::uint8_t {
  delete_submission_queue = 0x00,
  create_submission_queue = 0x01,
  get_log_page = 0x02,
  delete_completion_queue = 0x04,
  create_completion_queue = 0x05,
  identify = 0x06,
  abort = 0x08,
  set_features = 0x09,
  get_features = 0x0a,
  async_event_request = 0x0c,
};
enum class IoOpcode : std::uint8_t {
  flush = 0x00,
  write = 0x01,
  read = 0x02,
  compare = 0x05,
  write_zeroes = 0x08,
  dataset_management = 0x09,
};

inline constexpr std::uint32_t kSubmissionEntryBytes = 64;
inline constexpr std::uint32_t kCompletionEntryBytes = 16;
inline constexpr std::uint32_t kAllNamespaces = 0xffffffff;

// 3.3.3.1: Command Dword 0.
struct CommandDword0 : base::Register<CommandDword0, 0, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> id{};      // CID
  static constexpr Bits<15, 14, std::uint8_t> pointer{};  // PSDT
  static constexpr Bits<9, 8, std::uint8_t> fused{};      // FUSE
  static constexpr Bits<7, 0, std::uint8_t> opcode{};     // OPC
};
inline constexpr std::uint8_t kPointerIsPrp = 0;
inline constexpr std::uint8_t kPointerIsReserved = 3;

// 3.3.3.1: the common command format.
struct NamespaceId : base::Register<NamespaceId, 4, std::uint32_t> {};
struct PointerLow : base::Register<PointerLow, 24, std::uint64_t> {};  // DPTR: PRP1, or an SGL descriptor's first half
struct PointerHigh : base::Register<PointerHigh, 32, std::uint64_t> {};  // DPTR: PRP2, or its second half

// 5.4 to 5.7: queue management. Deleting uses the identifier alone.
struct QueueDword10 : base::Register<QueueDword10, 40, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> entries_0based{};  // QSIZE
  static constexpr Bits<15, 0, std::uint16_t> id{};               // QID
};
struct CompletionQueueDword11 : base::Register<CompletionQueueDword11, 44, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> vector{};  // IV
  static constexpr Bit<1> interrupts{};                   // IEN
  static constexpr Bit<0> contiguous{};                   // PC
};
struct SubmissionQueueDword11 : base::Register<SubmissionQueueDword11, 44, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> completion_queue{};  // CQID
  static constexpr Bit<0> contiguous{};                             // PC
};

// 5.1: Abort.
struct AbortDword10 : base::Register<AbortDword10, 40, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> command{};          // CID
  static constexpr Bits<15, 0, std::uint16_t> submission_queue{};  // SQID
};

// 5.17: Identify.
struct IdentifyDword10 : base::Register<IdentifyDword10, 40, std::uint32_t> {
  static constexpr Bits<7, 0, std::uint8_t> structure{};  // CNS
};

// 5.16: Get Log Page.
struct LogDword10 : base::Register<LogDword10, 40, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> dwords_0based_low{};  // NUMDL
  static constexpr Bit<15> retain_event{};                           // RAE
  static constexpr Bits<7, 0, std::uint8_t> page{};                  // LID
};
struct LogDword11 : base::Register<LogDword11, 44, std::uint32_t> {
  static constexpr Bits<15, 0, std::uint16_t> dwords_0based_high{};  // NUMDU
};
struct LogOffset : base::Register<LogOffset, 48, std::uint64_t> {};  // LPOL and LPOU
struct LogDword14 : base::Register<LogDword14, 56, std::uint32_t> {
  static constexpr Bit<23> offset_is_index{};  // OT
};

// 5.15 and 5.27: Get Features and Set Features.
struct FeatureDword10 : base::Register<FeatureDword10, 40, std::uint32_t> {
  static constexpr Bit<31> save{};                      // SV, when setting
  static constexpr Bits<10, 8, std::uint8_t> select{};  // SEL, when getting
  static constexpr Bits<7, 0, std::uint8_t> feature{};  // FID
};
struct FeatureValue : base::Register<FeatureValue, 44, std::uint32_t> {};

// NVM command set 1.0, 3.2.1, 3.2.4, 3.2.6 and 3.2.8: what Compare, Read, Write and Write Zeroes have in common.
struct FirstBlock : base::Register<FirstBlock, 40, std::uint64_t> {};  // SLBA
struct BlocksDword12 : base::Register<BlocksDword12, 48, std::uint32_t> {
  static constexpr Bit<30> force_unit_access{};                 // FUA
  static constexpr Bits<23, 20, std::uint8_t> directive{};      // DTYPE, for Write
  static constexpr Bits<15, 0, std::uint16_t> blocks_0based{};  // NLB
};

// NVM command set 1.0, 3.2.3: Dataset Management.
struct RangesDword10 : base::Register<RangesDword10, 40, std::uint32_t> {
  static constexpr Bits<7, 0, std::uint8_t> ranges_0based{};  // NR
};
struct RangesDword11 : base::Register<RangesDword11, 44, std::uint32_t> {
  static constexpr Bit<2> deallocate{};  // AD
};
struct DatasetRange {
  std::uint32_t attributes = 0;
  std::uint32_t blocks = 0;
  std::uint64_t first_block = 0;
};
static_assert(sizeof(DatasetRange) == 16);

// A copy of one submission entry, so that what is checked is what is used even if the host writes to the queue meanwhile.
struct SubmissionEntry {
  std::array<std::byte, kSubmissionEntryBytes> bytes;

  template <class R>
  [[nodiscard]] R get() const {
    static_assert(R::kOffset + sizeof(typename R::Word) <= kSubmissionEntryBytes);
    typename R::Word word;
    std::memcpy(&word, bytes.data() + R::kOffset, sizeof(word));
    return R::from(word);
  }
};

// 3.3.3.2.
struct CompletionEntry {
  std::uint32_t result = 0;
  std::uint32_t result_high = 0;
  std::uint16_t submission_head = 0;   // SQHD
  std::uint16_t submission_queue = 0;  // SQID
  std::uint16_t command_id = 0;        // CID
  std::uint16_t status_and_phase = 0;  // the status above the phase tag
};
static_assert(sizeof(CompletionEntry) == kCompletionEntryBytes);

// What a command's handler leaves behind.
struct Outcome {
  Status status;
  std::uint32_t result = 0;
  bool is_held = false;  // Asynchronous Event Request: no completion yet
};

}  // namespace barter::devices::nvme
