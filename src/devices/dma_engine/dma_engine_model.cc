#include "devices/dma_engine/dma_engine_model.h"

#include <utility>

#include <fmt/format.h>

namespace barter::devices::dma_engine {

DmaEngine::DmaEngine(fabric::FunctionIdentity identity, const FixedRegisters& fixed, std::uint64_t bytes_per_step)
    : identity_(std::move(identity)),
      registers_(fixed, [this](std::string what) { record(std::move(what)); }),
      stepper_(registers_) {
  for (std::uint32_t number = 0; number < fixed.channels; ++number)
    stepper_.add({ring_device::Ring(number, registers_, [this](std::string what) { record(std::move(what)); }),
                  Job(number, registers_), bytes_per_step});
}

void DmaEngine::record(std::string what) {
  const std::scoped_lock lock(violation_mutex_);
  violation(std::move(what));
}

std::uint64_t DmaEngine::read_register(unsigned bar, BarOffset at, unsigned width_bytes) {
  if (bar == ring_device::kRegisterBar) return registers_.read(at.value, width_bytes);
  record(fmt::format("a read of BAR {}, which it has not", bar));
  return ~std::uint64_t{0};
}

void DmaEngine::write_register(unsigned bar, BarOffset at, unsigned width_bytes, std::uint64_t value) {
  if (bar == ring_device::kRegisterBar) return registers_.write(at.value, width_bytes, value);
  record(fmt::format("a write to BAR {}, which it has not", bar));
}

using ring_device::kMaxRingLog2;

Result<std::unique_ptr<fabric::Device>> create_dma_engine(const DmaEngineSetup& setup) {
  const auto refuse = [](std::string why, std::string cure) {
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "making a DMA engine",
                 .why = std::move(why),
                 .cure = std::move(cure)});
  };
  if (setup.channels == 0 || setup.channels > kMaxChannels)
    return refuse(fmt::format("it would have {} channels", setup.channels),
                  fmt::format("choose 1 to {}", kMaxChannels));
  if (setup.ring_log2 == 0 || setup.ring_log2 > kMaxRingLog2)
    return refuse(fmt::format("its rings would have up to 2^{} entries", setup.ring_log2),
                  fmt::format("choose 1 to {}", kMaxRingLog2));
  if (setup.segments == 0 || setup.transfer_bytes == 0)
    return refuse("it could move nothing", "choose at least one segment and one byte");
  fabric::FunctionIdentity identity{.vendor_id = setup.vendor_id,
                                    .device_id = setup.device_id,
                                    .subsystem_vendor_id = setup.vendor_id,
                                    .subsystem_id = setup.device_id,
                                    .class_code = kOtherSystemPeripheral,
                                    .revision = 1,
                                    .bars = {{.index = ring_device::kRegisterBar, .size_bytes = kRegisterBarBytes}},
                                    .msix_vectors = setup.channels,
                                    .msix_bar = ring_device::kRegisterBar,
                                    .msix_table = {kMsixTable},
                                    .msix_pending = {kMsixPending}};
  const FixedRegisters fixed{.channels = setup.channels,
                             .ring_log2 = setup.ring_log2,
                             .segments = setup.segments,
                             .transfer_bytes = setup.transfer_bytes};
  return std::make_unique<DmaEngine>(std::move(identity), fixed,
                                     setup.bytes_per_step != 0 ? setup.bytes_per_step : ring_device::kMaxBytesPerStep);
}

}  // namespace barter::devices::dma_engine
