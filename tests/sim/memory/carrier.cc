#include "carrier.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "drivers/dma_engine/engine.h"

namespace barter::sim {
namespace engine = drivers::dma_engine;
namespace nic = drivers::nic;

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

// The local side is host memory that both ends reach: this one by its address, the other one by its own, as the region behind a key.
class NicCarrier final : public Carrier {
 public:
  NicCarrier(nic::Nic& near, nic::Nic& far, std::unique_ptr<nic::Pair> pair, std::unique_ptr<nic::Pair> far_pair)
      : near_(near), far_(far), far_pair_(std::move(far_pair)), pair_(std::move(pair)) {}
  // The other end may be at work for a command of ours that was stopped.
  ~NicCarrier() override {
    pair_.reset();
    if (key_) static_cast<void>(far_.withdraw(*key_));
  }

  [[nodiscard]] Result<void> submit(const Order& order) override {
    const bool is_read = order.direction == machine::Direction::from_endpoint;  // of the local side
    return pair_->sends().submit({.opcode = is_read ? nic::Opcode::read : nic::Opcode::write,
                                  .memory = order.memory,
                                  .key = *key_,
                                  .remote_offset = order.local.address.value - local_.value,
                                  .tag = order.tag});
  }
  void ring() override { pair_->sends().ring(); }
  [[nodiscard]] Result<std::size_t> poll(std::span<machine::PieceResult> results) override {
    std::array<nic::CommandResult, 16> ended;
    auto count = pair_->sends().poll(std::span(ended).first(std::min(ended.size(), results.size())));
    for (std::size_t at = 0; count && at < *count; ++at)
      results[at] = {.tag = ended[at].tag, .status = ended[at].status};
    return count;
  }
  [[nodiscard]] std::string describe(std::uint16_t status) const override {
    return nic::describe_status(static_cast<std::uint8_t>(status));
  }
  [[nodiscard]] Result<pci::DmaBuffer> allocate(std::uint64_t bytes) override {
    auto buffer = near_.function().allocate_dma(bytes, pci::DmaUse::data);
    if (!buffer) return buffer;
    auto shared = far_.function().share_dma(*buffer);
    if (!shared) return shared;
    shared_ = std::move(*shared);
    local_ = buffer->address();
    if (auto shown = show(); !shown) return fail(std::move(shown.error()));
    return buffer;
  }

 private:
  [[nodiscard]] Result<void> show() {
    const DmaSegment all = shared_.segment();
    nic::Channel& channel = far_pair_->sends();
    if (auto sent =
            channel.submit({.opcode = nic::Opcode::expose, .memory = {&all, 1}, .remote_access = Access::read_write});
        !sent)
      return sent;
    channel.ring();
    std::array<nic::CommandResult, 1> results;
    while (true) {
      const auto count = channel.poll(results);
      if (!count) return fail(count.error());
      if (*count != 0) break;
      far_.function().clock().idle();
    }
    if (!results[0].ok())
      return fail({.code = ErrorCode::device_failed,
                   .doing = "showing memory to the other end",
                   .why = nic::describe_status(results[0].status)});
    key_ = nic::RemoteKey{static_cast<std::uint32_t>(results[0].value)};
    return {};
  }

  nic::Nic& near_;
  nic::Nic& far_;
  // Destroyed from the last to the first.
  pci::DmaBuffer shared_;
  DmaAddress local_;
  std::optional<nic::RemoteKey> key_;
  std::unique_ptr<nic::Pair> far_pair_;
  std::unique_ptr<nic::Pair> pair_;
};

}  // namespace

Result<std::unique_ptr<Carrier>> Carrier::open(machine::DriveUnit& unit, std::uint32_t depth, nic::Nic& far) {
  if (unit.nic) {
    auto far_pair = far.create_pair({.number = 0, .entries = 2, .segments = 1});
    if (!far_pair) return fail(std::move(far_pair.error()));
    auto pair = unit.nic->create_pair({.number = 0, .entries = depth * 2, .segments = 4});
    if (!pair) return fail(std::move(pair.error()));
    return std::make_unique<NicCarrier>(*unit.nic, far, std::move(*pair), std::move(*far_pair));
  }
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
