// The registers of a controller that this driver uses (NVM Express base specification 2.0, section 3.1.3, which calls
// them properties), and the doorbells (NVMe over PCIe transport specification 1.0, section 3.1.2).
#pragma once
#include <cstdint>

#include "base/register.h"
#include "pci/function.h"

namespace barter::drivers::nvme {

// Section 3.1.3.1.
struct Capabilities : base::Register<Capabilities, 0x00, std::uint64_t, base::RegisterAccess::read_only> {
  static constexpr Bit<57> controller_memory_buffer{};
  static constexpr Bits<51, 48> page_size_min_log2_minus12{};
  static constexpr Bits<55, 52> page_size_max_log2_minus12{};
  static constexpr Bits<44, 37> command_sets{};
  static constexpr Bits<35, 32> doorbell_stride_log2_minus2{};
  static constexpr Bits<31, 24> timeout_500ms{};
  static constexpr Bit<16> contiguous_queues_required{};
  static constexpr Bits<15, 0> max_queue_entries_0based{};
};
inline constexpr std::uint64_t kCommandSetNvm = 0x01;  // bit 0 of Capabilities::command_sets

// Section 3.1.3.2.
struct Version : base::Register<Version, 0x08, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 16> major{};
  static constexpr Bits<15, 8> minor{};
  static constexpr Bits<7, 0> tertiary{};
};
[[nodiscard]] constexpr std::uint32_t version_number(std::uint32_t major, std::uint32_t minor) {
  return major << 16 | minor << 8;
}

// Section 3.1.3.5.
struct Configuration : base::Register<Configuration, 0x14, std::uint32_t> {
  static constexpr Bits<23, 20> completion_entry_log2{};
  static constexpr Bits<19, 16> submission_entry_log2{};
  static constexpr Bits<15, 14> shutdown{};
  static constexpr Bits<13, 11> arbitration{};
  static constexpr Bits<10, 7> page_size_log2_minus12{};
  static constexpr Bits<6, 4> command_set{};
  static constexpr Bit<0> enable{};
};
inline constexpr std::uint32_t kShutdownNormal = 1;  // Configuration::shutdown

// Section 3.1.3.6.
struct Status : base::Register<Status, 0x1c, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<3, 2> shutdown{};
  static constexpr Bit<1> fatal{};
  static constexpr Bit<0> ready{};
  // A register of a device that is no longer there reads as all ones; reserved bits keep a living one from it.
  [[nodiscard]] constexpr bool is_gone() const { return raw == ~Word{0}; }
};
inline constexpr std::uint32_t kShutdownComplete = 2;  // Status::shutdown

// Section 3.1.3.8.
struct AdminQueueAttributes : base::Register<AdminQueueAttributes, 0x24, std::uint32_t> {
  static constexpr Bits<27, 16> completion_entries_0based{};
  static constexpr Bits<11, 0> submission_entries_0based{};
};
// Section 3.1.3.9. The low twelve bits are reserved: the queue is 4 KiB-aligned.
struct AdminSubmissionQueue : base::Register<AdminSubmissionQueue, 0x28, std::uint64_t> {};
// Section 3.1.3.10.
struct AdminCompletionQueue : base::Register<AdminCompletionQueue, 0x30, std::uint64_t> {};

// Section 3.1.3.11.
struct MemoryBufferLocation
    : base::Register<MemoryBufferLocation, 0x38, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 12> offset_units{};
  static constexpr Bits<2, 0> bar{};
};
// Section 3.1.3.12.
struct MemoryBufferSize : base::Register<MemoryBufferSize, 0x3c, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<31, 12> size_units{};
  static constexpr Bits<11, 8> unit_log16_4kib{};  // the unit is 4 KiB << 4 * this; 7 and more are reserved
  static constexpr Bit<4> write_data{};
  static constexpr Bit<3> read_data{};
  static constexpr Bit<2> lists{};
  static constexpr Bit<1> completion_queues{};
  static constexpr Bit<0> submission_queues{};
};
// Section 3.1.3.17. The controller base address is a multiple of 4 KiB and stands in its place.
struct MemoryBufferControl : base::Register<MemoryBufferControl, 0x50, std::uint64_t> {
  static constexpr Bits<63, 12> base_address_4kib{};
  static constexpr Bit<1> memory_space_enable{};
  static constexpr Bit<0> registers_enable{};
};
// Section 3.1.3.18.
struct MemoryBufferStatus : base::Register<MemoryBufferStatus, 0x58, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bit<0> base_address_invalid{};
};

// Transport specification 1.0, sections 3.1.2.1 and 3.1.2.2: the tail of submission queue y, the head of completion
// queue y.
inline constexpr std::uint32_t kDoorbellBase = 0x1000;
[[nodiscard]] constexpr BarOffset submission_doorbell(std::uint32_t queue, std::uint32_t stride_bytes) {
  return {kDoorbellBase + std::uint64_t{2} * queue * stride_bytes};
}
[[nodiscard]] constexpr BarOffset completion_doorbell(std::uint32_t queue, std::uint32_t stride_bytes) {
  return {kDoorbellBase + (std::uint64_t{2} * queue + 1) * stride_bytes};
}

// One access of the register's width for each read and write.
template <class R>
[[nodiscard]] R read(pci::Mmio& mmio) {
  if constexpr (sizeof(typename R::Word) == 8) {
    return R::from(mmio.load64({R::kOffset}));
  } else {
    return R::from(mmio.load32({R::kOffset}));
  }
}
template <class R>
void write(pci::Mmio& mmio, R value) {
  static_assert(R::kAccess != base::RegisterAccess::read_only, "this register can't be written");
  if constexpr (sizeof(typename R::Word) == 8) {
    mmio.store64({R::kOffset}, value.raw);
  } else {
    mmio.store32({R::kOffset}, value.raw);
  }
}

}  // namespace barter::drivers::nvme
