#include "drivers/nic/nic.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "drivers/nic/channel.h"
#include "drivers/nic/device.h"

namespace barter::drivers::nic {
namespace {

class PairImpl final : public Pair {
 public:
  PairImpl(std::uint32_t number, std::unique_ptr<ChannelImpl> sends, std::unique_ptr<ChannelImpl> receives)
      : number_(number), receives_(std::move(receives)), sends_(std::move(sends)) {}

  [[nodiscard]] std::uint32_t number() const override { return number_; }
  [[nodiscard]] Channel& sends() override { return *sends_; }
  [[nodiscard]] Channel& receives() override { return *receives_; }

 private:
  std::uint32_t number_;
  std::unique_ptr<ChannelImpl> receives_;
  std::unique_ptr<ChannelImpl> sends_;
};

class NicImpl final : public Nic {
 public:
  NicImpl(std::unique_ptr<pci::Function> function, const NicOptions& options)
      : device_(kDeviceKind, std::move(function), options) {}
  ~NicImpl() override { stop_dma(device_); }

  [[nodiscard]] Result<void> bring_up() {
    if (auto opened = open_function(device_); !opened) return opened;
    if (auto known = read_facts(device_); !known) return known;
    if (auto cleared = reset(device_); !cleared) return cleared;
    if (auto on = enable(device_); !on) return on;
    return device_.options.use_interrupts ? device_.function->enable_interrupts(2 * device_.facts.pairs)
                                          : Result<void>{};
  }

  [[nodiscard]] pci::Function& function() override { return *device_.function; }
  [[nodiscard]] const NicFacts& facts() const override { return device_.facts; }
  [[nodiscard]] peer::SegmentLimits segment_limits() const override { return limits_of(device_.facts); }
  [[nodiscard]] bool is_wire_up() override {
    const auto wire = read<WireRegister>(*device_.registers);
    return !wire.is_gone() && wire.get(WireRegister::up);
  }
  [[nodiscard]] Result<std::unique_ptr<Pair>> create_pair(PairOptions options) override;
  [[nodiscard]] Result<void> withdraw(RemoteKey key) override;

 private:
  [[nodiscard]] bool is_free(std::uint32_t pair) const {
    return !device_.used[send_channel(pair)] && !device_.used[receive_channel(pair)];
  }
  // The one that is wanted, or the first that is free.
  [[nodiscard]] Result<std::uint32_t> choose(std::optional<std::uint32_t> wanted) const;
  [[nodiscard]] Result<std::unique_ptr<ChannelImpl>> create_channel(Kind kind, std::uint32_t number,
                                                                    const PairOptions& options);
  Device device_;
};

Result<std::uint32_t> NicImpl::choose(std::optional<std::uint32_t> wanted) const {
  const auto refuse = [&](ErrorCode code, std::string why, std::string cure) {
    return fail(device_.error(code, "creating a queue pair of the NIC", std::move(why), std::move(cure)));
  };
  const std::uint32_t pairs = device_.facts.pairs;
  if (wanted && *wanted >= pairs)
    return refuse(ErrorCode::out_of_range, fmt::format("there is no pair {}: it has {}", *wanted, pairs),
                  "count from 0");
  if (wanted && !is_free(*wanted))
    return refuse(ErrorCode::exhausted, fmt::format("pair {} is in use", *wanted), "destroy it first");
  if (wanted) return *wanted;
  for (std::uint32_t pair = 0; pair < pairs; ++pair)
    if (is_free(pair)) return pair;
  return refuse(ErrorCode::exhausted, fmt::format("all {} pairs are in use", pairs), "destroy one first");
}

Result<std::unique_ptr<ChannelImpl>> NicImpl::create_channel(Kind kind, std::uint32_t number,
                                                             const PairOptions& options) {
  auto parts = prepare_ring(device_, {.first_channel = number,
                                      .channels = 1,
                                      .entries = options.entries,
                                      .max_entries = device_.facts.max_ring_entries});
  if (!parts) return fail(std::move(parts.error()));
  // A receive waits for as long as the other end likes.
  parts->is_patient = kind == Kind::receives;
  const auto most = static_cast<std::uint32_t>(segment_limits().max_segments);
  const std::uint32_t segments = std::clamp(options.segments, 1u, most);
  auto lists = device_.function->allocate_dma((parts->entries - 1) * std::uint64_t{segments} * kSegmentBytes,
                                              pci::DmaUse::control);
  if (!lists) return fail(std::move(lists.error()));
  auto channel =
      std::make_unique<ChannelImpl>(device_, kind, std::move(*parts), ChannelLists{segments, std::move(*lists)});
  if (auto started = channel->start(); !started) return fail(std::move(started.error()));
  return channel;
}

Result<std::unique_ptr<Pair>> NicImpl::create_pair(PairOptions options) {
  const auto number = choose(options.number);
  if (!number) return fail(number.error());
  auto receives = create_channel(Kind::receives, receive_channel(*number), options);
  if (!receives) return fail(std::move(receives.error()));
  auto sends = create_channel(Kind::sends, send_channel(*number), options);
  if (!sends) return fail(std::move(sends.error()));
  return std::make_unique<PairImpl>(*number, std::move(*sends), std::move(*receives));
}

// The read is behind the write, and pushes it through: what REMOTE then tells is of a NIC to which the key is nothing.
Result<void> NicImpl::withdraw(RemoteKey key) {
  pci::Mmio& registers = *device_.registers;
  write(registers, WithdrawRegister::from(key.value));
  const auto before = read<RemoteRegister>(registers);
  if (!before.get(RemoteRegister::busy)) return {};
  const bool is_over = device_.wait([&] {
    const auto now = read<RemoteRegister>(registers);
    // REMOTE may be all ones by right; STATUS never is.
    return now != before || (now.raw == 0xffffffff && device_.status().is_gone());
  });
  if (is_over) return {};
  Error error = device_.silence("withdrawing a key of the NIC", fmt::format("REMOTE stays {:#x}", before.raw));
  if (error.code == ErrorCode::device_gone) return {};
  return fail(std::move(error));
}

}  // namespace

Result<std::unique_ptr<Nic>> Nic::create(std::unique_ptr<pci::Function> function, NicOptions options) {
  auto made = std::make_unique<NicImpl>(std::move(function), options);
  if (auto up = made->bring_up(); !up) return fail(std::move(up.error()));
  return made;
}

}  // namespace barter::drivers::nic
