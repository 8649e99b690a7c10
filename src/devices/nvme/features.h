// Get and Set Features: NVM Express base specification 2.0, sections 5.15 and 5.27. Nothing is saved: every feature has its
// default again after a reset.
#pragma once
#include <array>
#include <cstdint>

#include "devices/nvme/commands.h"

namespace barter::devices::nvme {

enum class FeatureId : std::uint8_t {
  arbitration = 0x01,
  power_management = 0x02,
  temperature_threshold = 0x04,
  error_recovery = 0x05,
  volatile_write_cache = 0x06,
  number_of_queues = 0x07,
  interrupt_coalescing = 0x08,
  interrupt_vector_configuration = 0x09,
  write_atomicity_normal = 0x0a,
  async_event_configuration = 0x0b,
};

// 5.27.1.1.
struct ArbitrationFeature : base::Register<ArbitrationFeature, 44, std::uint32_t> {
  static constexpr Bits<2, 0, std::uint8_t> burst_log2{};  // AB
};
inline constexpr std::uint8_t kUnlimitedBurst = 7;
// 5.27.1.2.
struct PowerFeature : base::Register<PowerFeature, 44, std::uint32_t> {
  static constexpr Bits<4, 0, std::uint8_t> state{};  // PS
};
// 5.27.1.3.
struct TemperatureFeature : base::Register<TemperatureFeature, 44, std::uint32_t> {
  static constexpr Bits<21, 20, std::uint8_t> is_under{};     // THSEL
  static constexpr Bits<19, 16, std::uint8_t> sensor{};       // TMPSEL
  static constexpr Bits<15, 0, std::uint16_t> threshold_k{};  // TMPTH
};
// NVM command set 1.0, 4.1.4.2.
struct ErrorRecoveryFeature : base::Register<ErrorRecoveryFeature, 44, std::uint32_t> {
  static constexpr Bit<16> deallocated_error{};  // DULBE
};
// 5.27.1.4.
struct WriteCacheFeature : base::Register<WriteCacheFeature, 44, std::uint32_t> {
  static constexpr Bit<0> enable{};  // WCE
};
// 5.27.1.5.
struct QueuesFeature : base::Register<QueuesFeature, 44, std::uint32_t> {
  static constexpr Bits<31, 16, std::uint16_t> completion_0based{};  // NCQR, NCQA
  static constexpr Bits<15, 0, std::uint16_t> submission_0based{};   // NSQR, NSQA
};
// 5.27.1.7.
struct VectorFeature : base::Register<VectorFeature, 44, std::uint32_t> {
  static constexpr Bit<16> no_coalescing{};              // CD
  static constexpr Bits<15, 0, std::uint16_t> vector{};  // IV
};

class Features {
 public:
  Features(std::uint16_t io_queues, std::uint16_t vectors, std::uint8_t burst_log2)
      : io_queues_(io_queues), vectors_(vectors), default_burst_log2_(burst_log2) {
    reset();
  }
  void reset();

  // `has_io_queues`: the number of queues can't change any more.
  [[nodiscard]] Outcome set(const SubmissionEntry& entry, bool has_io_queues);
  [[nodiscard]] Outcome get(const SubmissionEntry& entry) const;
  // Does the log of supported features list it?
  [[nodiscard]] static bool supports(std::uint8_t feature);

  [[nodiscard]] std::uint32_t arbitration_burst() const;
  [[nodiscard]] bool has_write_cache() const { return values_[0x06] != 0; }
  // I/O queues granted, of each kind.
  [[nodiscard]] std::uint16_t submission_queues() const { return submission_queues_; }
  [[nodiscard]] std::uint16_t completion_queues() const { return completion_queues_; }

 private:
  [[nodiscard]] Outcome set_queues(QueuesFeature wanted, bool has_io_queues);
  [[nodiscard]] Outcome granted_queues() const;

  const std::uint16_t io_queues_;
  const std::uint16_t vectors_;
  const std::uint8_t default_burst_log2_;
  std::array<std::uint32_t, 0x0c> values_{};
  std::array<std::uint16_t, 2> temperature_thresholds_k_{};  // over, under
  std::uint16_t submission_queues_ = 0;
  std::uint16_t completion_queues_ = 0;
};

}  // namespace barter::devices::nvme
