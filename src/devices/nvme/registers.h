// The controller's registers in BAR 0: NVM Express base specification 2.0, section 3.1.3, in its order.
// The driver has a table of its own; tests/oracle compares this one with libnvme's.
#pragma once
#include <cstdint>

#include "base/register.h"

namespace barter::devices::nvme {

using base::RegisterAccess;

// 3.1.3.1: Controller Capabilities.
struct Capabilities : base::Register<Capabilities, 0x00, std::uint64_t, RegisterAccess::read_only> {
  static constexpr Bits<60, 59, std::uint8_t> ready_modes{};            // CRMS; bit 0: with media
  static constexpr Bit<57> controller_memory_buffer{};                  // CMBS
  static constexpr Bits<55, 52, std::uint8_t> page_size_max_log2_4k{};  // MPSMAX
  static constexpr Bits<51, 48, std::uint8_t> page_size_min_log2_4k{};  // MPSMIN
  static constexpr Bits<44, 37, std::uint8_t> command_sets{};           // CSS; bit 0: NVM
  static constexpr Bits<35, 32, std::uint8_t> doorbell_stride_log2{};   // DSTRD, of 4 bytes
  static constexpr Bits<31, 24, std::uint8_t> timeout_500ms{};          // TO
  static constexpr Bits<18, 17, std::uint8_t> arbitration{};            // AMS
  static constexpr Bit<16> contiguous_queues{};                         // CQR
  static constexpr Bits<15, 0, std::uint16_t> queue_entries_0based{};   // MQES
};

// 3.1.3.2: Version.
struct Version : base::Register<Version, 0x08, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<31, 16, std::uint16_t> major{};
  static constexpr Bits<15, 8, std::uint8_t> minor{};
  static constexpr Bits<7, 0, std::uint8_t> tertiary{};
};

// 3.1.3.3 and 3.1.3.4: Interrupt Mask Set and Clear. Not to be touched where MSI-X is used, and here it is.
struct InterruptMaskSet : base::Register<InterruptMaskSet, 0x0c, std::uint32_t> {};
struct InterruptMaskClear : base::Register<InterruptMaskClear, 0x10, std::uint32_t> {};

// 3.1.3.5: Controller Configuration.
struct Configuration : base::Register<Configuration, 0x14, std::uint32_t> {
  static constexpr Bit<24> ready_independent_of_media{};                // CRIME
  static constexpr Bits<23, 20, std::uint8_t> completion_entry_log2{};  // IOCQES
  static constexpr Bits<19, 16, std::uint8_t> submission_entry_log2{};  // IOSQES
  static constexpr Bits<15, 14, std::uint8_t> shutdown{};               // SHN
  static constexpr Bits<13, 11, std::uint8_t> arbitration{};            // AMS
  static constexpr Bits<10, 7, std::uint8_t> page_size_log2_4k{};       // MPS
  static constexpr Bits<6, 4, std::uint8_t> command_set{};              // CSS
  static constexpr Bit<0> enable{};                                     // EN
  static constexpr std::uint32_t kReserved = 0xfe00000e;
};

// 3.1.3.6: Controller Status.
struct ControllerStatus : base::Register<ControllerStatus, 0x1c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<3, 2, std::uint8_t> shutdown{};  // SHST
  static constexpr Bit<1> fatal{};                       // CFS
  static constexpr Bit<0> ready{};                       // RDY
};
inline constexpr std::uint8_t kShutdownComplete = 2;  // SHST

// 3.1.3.7: NVM Subsystem Reset. Absent: CAP.NSSRS is 0, which makes it reserved.
struct SubsystemReset : base::Register<SubsystemReset, 0x20, std::uint32_t> {};

// 3.1.3.8: Admin Queue Attributes.
struct AdminQueueAttributes : base::Register<AdminQueueAttributes, 0x24, std::uint32_t> {
  static constexpr Bits<27, 16, std::uint16_t> completion_entries_0based{};  // ACQS
  static constexpr Bits<11, 0, std::uint16_t> submission_entries_0based{};   // ASQS
  static constexpr std::uint32_t kReserved = 0xf000f000;
};

// 3.1.3.9 and 3.1.3.10: where the admin queues are. Bits 11 to 0 are reserved.
struct AdminSubmissionQueue : base::Register<AdminSubmissionQueue, 0x28, std::uint64_t> {};
struct AdminCompletionQueue : base::Register<AdminCompletionQueue, 0x30, std::uint64_t> {};
inline constexpr std::uint64_t kAdminQueueReserved = 0xfff;

// 3.1.3.11: Controller Memory Buffer Location. Reads as 0 until CMBMSC.CRE is set.
struct BufferLocation : base::Register<BufferLocation, 0x38, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<31, 12> offset_units{};       // OFST, in units of CMBSZ.SZU
  static constexpr Bit<8> queue_dword_aligned{};      // CQDA
  static constexpr Bit<7> data_mixed{};               // CDMMMS
  static constexpr Bit<6> list_apart_from_command{};  // CDPCILS
  static constexpr Bit<5> lists_mixed{};              // CDPMLS
  static constexpr Bit<4> queue_discontiguous{};      // CQPDS
  static constexpr Bit<3> queue_mixed{};              // CQMMS
  static constexpr Bits<2, 0, std::uint8_t> bar{};    // BIR
};

// 3.1.3.12: Controller Memory Buffer Size. Reads as 0 until CMBMSC.CRE is set.
struct BufferSize : base::Register<BufferSize, 0x3c, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<31, 12> size_units{};               // SZ
  static constexpr Bits<11, 8, std::uint8_t> unit_log16{};  // SZU: 4 KiB times 16 to this power
  static constexpr Bit<4> write_data{};                     // WDS
  static constexpr Bit<3> read_data{};                      // RDS
  static constexpr Bit<2> lists{};                          // LISTS
  static constexpr Bit<1> completion_queues{};              // CQS
  static constexpr Bit<0> submission_queues{};              // SQS
};

// 3.1.3.16: Controller Memory Buffer Memory Space Control.
struct BufferControl : base::Register<BufferControl, 0x50, std::uint64_t> {
  static constexpr Bits<63, 12> base_4k{};  // CBA
  static constexpr Bit<1> memory_space{};   // CMSE: the controller claims the addresses from CBA on for its buffer
  static constexpr Bit<0> capabilities{};   // CRE: CMBLOC and CMBSZ tell the truth
  static constexpr std::uint64_t kReserved = 0xffc;
};

// 3.1.3.17: Controller Memory Buffer Status.
struct BufferStatus : base::Register<BufferStatus, 0x58, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bit<0> base_invalid{};  // CBAI
};

// 3.1.3.21: Controller Ready Timeouts.
struct ReadyTimeouts : base::Register<ReadyTimeouts, 0x68, std::uint32_t, RegisterAccess::read_only> {
  static constexpr Bits<31, 16, std::uint16_t> independent_of_media_500ms{};  // CRIMT
  static constexpr Bits<15, 0, std::uint16_t> with_media_500ms{};             // CRWMT
};

// PCIe transport specification 1.0, section 3.1.2: the doorbells. Queue y's tail is the (2y)th, its head the (2y + 1)th.
inline constexpr std::uint32_t kDoorbells = 0x1000;
constexpr std::uint32_t doorbell_stride(std::uint8_t stride_log2) { return 4u << stride_log2; }

}  // namespace barter::devices::nvme
