#include "drivers/dma_engine/engine.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "drivers/dma_engine/channel.h"
#include "drivers/dma_engine/device.h"

namespace barter::drivers::dma_engine {
namespace {

class EngineImpl final : public Engine, public ChannelOwner {
 public:
  explicit EngineImpl(Device device) : device_(std::move(device)) {}
  ~EngineImpl() override {
    if (is_up_) stop_dma(device_);
  }

  [[nodiscard]] Result<void> bring_up() {
    if (auto opened = open_function(device_); !opened) return opened;
    is_up_ = true;  // from here on there is something to stop
    if (auto known = read_facts(device_); !known) return known;
    if (auto cleared = reset(device_); !cleared) return cleared;
    if (auto on = enable(device_); !on) return on;
    return device_.options.use_interrupts ? device_.function->enable_interrupts(device_.facts.channels)
                                          : Result<void>{};
  }

  [[nodiscard]] pci::Function& function() override { return *device_.function; }
  [[nodiscard]] const EngineFacts& facts() const override { return device_.facts; }
  [[nodiscard]] Result<std::unique_ptr<Channel>> create_channel(ChannelOptions options) override;
  void retire(std::uint32_t channel) override;

 private:
  Device device_;
  std::array<bool, kMostChannels> used_{};
  bool is_up_ = false;
};

Result<std::unique_ptr<Channel>> EngineImpl::create_channel(ChannelOptions options) {
  const EngineFacts& facts = device_.facts;
  const auto end = used_.begin() + facts.channels;
  const auto free = std::find(used_.begin(), end, false);
  if (free == end)
    return fail(device_.error(ErrorCode::exhausted, "creating a channel of the DMA engine",
                              fmt::format("all {} channels are in use", facts.channels)));
  const std::uint32_t most = std::min(facts.max_ring_entries, kMaxRingEntries);
  const std::uint32_t entries = std::min(std::bit_ceil(std::clamp(options.entries, 2u, kMaxRingEntries)), most);
  const std::uint32_t segments = std::clamp(options.segments, 1u, std::min(facts.max_segments, kMaxSegmentsInList));
  auto descriptors = device_.function->allocate_dma(entries * kDescriptorBytes, pci::DmaUse::control);
  if (!descriptors) return fail(std::move(descriptors.error()));
  auto completions = device_.function->allocate_dma(entries * kCompletionBytes, pci::DmaUse::control);
  if (!completions) return fail(std::move(completions.error()));
  const std::uint64_t list_bytes = std::uint64_t{2} * segments * kSegmentBytes;
  auto lists = device_.function->allocate_dma((entries - 1) * list_bytes, pci::DmaUse::control);
  if (!lists) return fail(std::move(lists.error()));
  *free = true;
  return ChannelImpl::create({.device = device_,
                              .owner = *this,
                              .number = static_cast<std::uint32_t>(free - used_.begin()),
                              .entries = entries,
                              .segments = segments,
                              .descriptors = std::move(*descriptors),
                              .completions = std::move(*completions),
                              .lists = std::move(*lists)});
}

void EngineImpl::retire(std::uint32_t channel) {
  const BarOffset place = channel_place(channel);
  write(*device_.registers, RunRegister{}, place);
  const bool stopped = device_.wait([&] {
    const auto status = read<ChannelStatusRegister>(*device_.registers, place);
    return status.is_gone() || status.raw == 0;
  });
  if (!stopped) stop_dma(device_);
  used_[channel] = !stopped;  // a channel that does not stop is not used again
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(std::unique_ptr<pci::Function> function, EngineOptions options) {
  Device device;
  device.name = function->bdf().to_string();
  device.function = std::move(function);
  device.options = options;
  auto made = std::make_unique<EngineImpl>(std::move(device));
  if (auto up = made->bring_up(); !up) return fail(std::move(up.error()));
  return made;
}

}  // namespace barter::drivers::dma_engine
