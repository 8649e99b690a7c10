#include "devices/nvme/features.h"

#include <algorithm>

namespace barter::devices::nvme {

void Features::reset() {
  values_ = {};
  values_[0x01] = ArbitrationFeature{}.with(ArbitrationFeature::burst_log2, default_burst_log2_).raw;
  values_[0x06] = WriteCacheFeature{}.with(WriteCacheFeature::enable, true).raw;
  temperature_thresholds_k_ = {0x157, 0};  // over: Identify's WCTEMP
  submission_queues_ = completion_queues_ = io_queues_;
}

bool Features::supports(std::uint8_t feature) {
  return feature >= 0x01 && feature <= 0x0b && feature != 0x03;  // 03h, LBA Range Type, is absent
}

std::uint32_t Features::arbitration_burst() const {
  const std::uint8_t log2 = ArbitrationFeature::from(values_[0x01]).get(ArbitrationFeature::burst_log2);
  return log2 == kUnlimitedBurst ? ~0u : 1u << log2;
}

Outcome Features::set(const SubmissionEntry& entry, bool has_io_queues) {
  const FeatureDword10 head = entry.get<FeatureDword10>();
  const std::uint8_t id = head.get(FeatureDword10::feature);
  const std::uint32_t value = entry.get<FeatureValue>().raw;
  if (!supports(id)) return {status::kInvalidField};
  if (head.get(FeatureDword10::save)) return {status::kFeatureNotSaveable};
  switch (static_cast<FeatureId>(id)) {
    case FeatureId::number_of_queues:
      return set_queues(QueuesFeature::from(value), has_io_queues);
    case FeatureId::power_management:
      if (PowerFeature::from(value).get(PowerFeature::state) != 0) return {status::kInvalidField};
      break;
    case FeatureId::temperature_threshold: {
      const auto wanted = TemperatureFeature::from(value);
      const std::uint8_t sensor = wanted.get(TemperatureFeature::sensor);
      const std::uint8_t side = wanted.get(TemperatureFeature::is_under);
      // The composite temperature (0) is the only one there is; 15 means all of them.
      if (side > 1 || (sensor != 0 && sensor != 15)) return {status::kInvalidField};
      temperature_thresholds_k_[side] = wanted.get(TemperatureFeature::threshold_k);
      return {};
    }
    case FeatureId::error_recovery:
      if (ErrorRecoveryFeature::from(value).get(ErrorRecoveryFeature::deallocated_error))
        return {status::kInvalidField};
      break;
    case FeatureId::interrupt_vector_configuration:
      if (VectorFeature::from(value).get(VectorFeature::vector) >= vectors_) return {status::kInvalidField};
      // Interrupts are gathered for each step anyway, and never held back longer: there is nothing to switch off.
      return {};
    default:
      break;
  }
  values_[id] = value;
  return {};
}

// 5.27.1.5: once, before any I/O queue is made.
Outcome Features::set_queues(QueuesFeature wanted, bool has_io_queues) {
  const std::uint16_t submission = wanted.get(QueuesFeature::submission_0based);
  const std::uint16_t completion = wanted.get(QueuesFeature::completion_0based);
  if (submission == 0xffff || completion == 0xffff) return {status::kInvalidField};
  if (has_io_queues) return {status::kCommandSequenceError};
  submission_queues_ = std::min(io_queues_, static_cast<std::uint16_t>(submission + 1));
  completion_queues_ = std::min(io_queues_, static_cast<std::uint16_t>(completion + 1));
  return granted_queues();
}

Outcome Features::granted_queues() const {
  return {status::kSuccess,
          QueuesFeature{}
              .with(QueuesFeature::submission_0based, static_cast<std::uint16_t>(submission_queues_ - 1))
              .with(QueuesFeature::completion_0based, static_cast<std::uint16_t>(completion_queues_ - 1))
              .raw};
}

Outcome Features::get(const SubmissionEntry& entry) const {
  const FeatureDword10 head = entry.get<FeatureDword10>();
  const std::uint8_t id = head.get(FeatureDword10::feature);
  const std::uint32_t value = entry.get<FeatureValue>().raw;
  // Select is announced in Identify's ONCS, and is not.
  if (!supports(id) || head.get(FeatureDword10::select) != 0) return {status::kInvalidField};
  switch (static_cast<FeatureId>(id)) {
    case FeatureId::number_of_queues:
      return granted_queues();
    case FeatureId::temperature_threshold: {
      const auto wanted = TemperatureFeature::from(value);
      const std::uint8_t side = wanted.get(TemperatureFeature::is_under);
      if (side > 1 || wanted.get(TemperatureFeature::sensor) != 0) return {status::kInvalidField};
      return {status::kSuccess, temperature_thresholds_k_[side]};
    }
    case FeatureId::interrupt_vector_configuration: {
      const auto wanted = VectorFeature::from(value);
      if (wanted.get(VectorFeature::vector) >= vectors_) return {status::kInvalidField};
      return {status::kSuccess, VectorFeature{}.with(VectorFeature::vector, wanted.get(VectorFeature::vector)).raw};
    }
    default:
      return {status::kSuccess, values_[id]};
  }
}

}  // namespace barter::devices::nvme
