#include "carrier.h"

#include <algorithm>
#include <array>
#include <utility>

#include "drivers/dma_engine/engine.h"

namespace barter::sim {
namespace engine = drivers::dma_engine;

namespace {

class EndpointCarrier final : public Carrier {
 public:
  explicit EndpointCarrier(std::unique_ptr<machine::Endpoint> endpoint) : endpoint_(std::move(endpoint)) {}

  [[nodiscard]] Result<void> submit(const Order& order) override {
    return endpoint_->submit({.direction = order.direction,
                              .offset = order.offset,
                              .bytes = order.bytes,
                              .memory = order.memory,
                              .tag = order.tag});
  }
  void ring() override { endpoint_->ring(); }
  [[nodiscard]] Result<std::size_t> poll(std::span<machine::PieceResult> results) override {
    return endpoint_->poll(results);
  }
  [[nodiscard]] std::string describe(std::uint16_t status) const override { return endpoint_->describe(status); }
  [[nodiscard]] Result<pci::DmaBuffer> allocate(std::uint64_t bytes) override { return endpoint_->allocate(bytes); }

 private:
  std::unique_ptr<machine::Endpoint> endpoint_;
};

class EngineCarrier final : public Carrier {
 public:
  EngineCarrier(engine::Engine& engine, std::unique_ptr<engine::Channel> channel)
      : engine_(engine), channel_(std::move(channel)) {}

  [[nodiscard]] Result<void> submit(const Order& order) override {
    const std::span<const DmaSegment> local(&order.local, 1);
    const bool is_read = order.direction == machine::Direction::from_endpoint;  // of the local side
    return channel_->submit(
        {.from = is_read ? local : order.memory, .to = is_read ? order.memory : local, .tag = order.tag});
  }
  void ring() override { channel_->ring(); }
  [[nodiscard]] Result<std::size_t> poll(std::span<machine::PieceResult> results) override {
    std::array<engine::CommandResult, 16> ended;
    auto count = channel_->poll(std::span(ended).first(std::min(ended.size(), results.size())));
    for (std::size_t at = 0; count && at < *count; ++at)
      results[at] = {.tag = ended[at].tag, .status = ended[at].status};
    return count;
  }
  [[nodiscard]] std::string describe(std::uint16_t status) const override {
    return engine::describe_status(static_cast<std::uint8_t>(status));
  }
  [[nodiscard]] Result<pci::DmaBuffer> allocate(std::uint64_t bytes) override {
    return engine_.function().allocate_dma(bytes, pci::DmaUse::data);
  }

 private:
  engine::Engine& engine_;
  std::unique_ptr<engine::Channel> channel_;
};

}  // namespace

Result<std::unique_ptr<Carrier>> Carrier::open(machine::DriveUnit& unit, std::uint32_t depth) {
  if (unit.dma_engine) {
    auto channel = unit.dma_engine->create_channel({.entries = depth * 2, .segments = 4});
    if (!channel) return fail(std::move(channel.error()));
    return std::make_unique<EngineCarrier>(*unit.dma_engine, std::move(*channel));
  }
  auto endpoint = unit.driver->open_endpoint(depth);
  if (!endpoint) return fail(std::move(endpoint.error()));
  return std::make_unique<EndpointCarrier>(std::move(*endpoint));
}

}  // namespace barter::sim
