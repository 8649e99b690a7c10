#include "drivers/dma_engine/engine.h"

#include <algorithm>
#include <utility>

#include "drivers/dma_engine/channel.h"
#include "drivers/dma_engine/device.h"

namespace barter::drivers::dma_engine {
namespace {

class EngineImpl final : public Engine {
 public:
  EngineImpl(std::unique_ptr<pci::Function> function, const EngineOptions& options)
      : device_(kDeviceKind, std::move(function), options) {}
  ~EngineImpl() override { stop_dma(device_); }

  [[nodiscard]] Result<void> bring_up() {
    if (auto opened = open_function(device_); !opened) return opened;
    if (auto known = read_facts(device_); !known) return known;
    if (auto cleared = reset(device_); !cleared) return cleared;
    if (auto on = enable(device_); !on) return on;
    return device_.options.use_interrupts ? device_.function->enable_interrupts(device_.facts.channels)
                                          : Result<void>{};
  }

  [[nodiscard]] pci::Function& function() override { return *device_.function; }
  [[nodiscard]] const EngineFacts& facts() const override { return device_.facts; }
  [[nodiscard]] Result<std::unique_ptr<Channel>> create_channel(ChannelOptions options) override;

 private:
  Device device_;
};

Result<std::unique_ptr<Channel>> EngineImpl::create_channel(ChannelOptions options) {
  const EngineFacts& facts = device_.facts;
  auto parts = prepare_ring(
      device_, {.channels = facts.channels, .entries = options.entries, .max_entries = facts.max_ring_entries});
  if (!parts) return fail(std::move(parts.error()));
  const std::uint32_t segments = std::clamp(options.segments, 1u, std::min(facts.max_segments, kMaxSegmentsInList));
  const std::uint64_t list_bytes = std::uint64_t{2} * segments * kSegmentBytes;
  auto lists = device_.function->allocate_dma((parts->entries - 1) * list_bytes, pci::DmaUse::control);
  if (!lists) return fail(std::move(lists.error()));
  auto channel = std::make_unique<ChannelImpl>(device_, std::move(*parts), ChannelLists{segments, std::move(*lists)});
  if (auto started = channel->start(); !started) return fail(std::move(started.error()));
  return channel;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(std::unique_ptr<pci::Function> function, EngineOptions options) {
  auto made = std::make_unique<EngineImpl>(std::move(function), options);
  if (auto up = made->bring_up(); !up) return fail(std::move(up.error()));
  return made;
}

}  // namespace barter::drivers::dma_engine
