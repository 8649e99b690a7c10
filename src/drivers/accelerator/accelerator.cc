#include "drivers/accelerator/accelerator.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "drivers/accelerator/address_space.h"
#include "drivers/accelerator/channel.h"
#include "drivers/accelerator/device.h"
#include "drivers/accelerator/links.h"

namespace barter::drivers::accelerator {
namespace {

class AcceleratorImpl final : public Accelerator, public ChannelOwner {
 public:
  explicit AcceleratorImpl(Device device) : device_(std::move(device)), address_space_(device_) {}
  ~AcceleratorImpl() override {
    if (is_up_) stop_dma(device_);
  }

  [[nodiscard]] Result<void> bring_up() {
    if (auto opened = open_function(device_); !opened) return opened;
    is_up_ = true;  // from here on there is something to stop
    if (auto known = read_facts(device_); !known) return known;
    links_ = std::make_unique<Links>(device_);
    if (auto off = disable(device_); !off) return off;
    if (auto on = enable(device_); !on) return on;
    if (!device_.options.use_interrupts) return {};
    return device_.function->enable_interrupts(device_.facts.copy_channels + device_.facts.compute_channels);
  }

  [[nodiscard]] pci::Function& function() override { return *device_.function; }
  [[nodiscard]] const AcceleratorFacts& facts() const override { return device_.facts; }
  [[nodiscard]] MemoryRange window() const override {
    return {device_.window_base,
            std::min(device_.facts.window_bytes, device_.facts.memory_bytes - device_.window_base)};
  }
  [[nodiscard]] MemoryRange usable_window() const override {
    MemoryRange shown = window();
    if (device_.control_offset < shown.offset || device_.control_offset - shown.offset >= shown.bytes) return shown;
    shown.bytes = device_.control_offset - shown.offset;
    return shown;
  }
  [[nodiscard]] BusAddress window_address() const override { return device_.memory->bus_address(); }
  [[nodiscard]] std::span<std::byte> window_bytes(MemoryRange part) override {
    return device_.memory->memory({part.offset}, part.bytes);
  }
  [[nodiscard]] Result<void> move_window(std::uint64_t local_offset) override;
  void pin_window() override { is_pinned_ = true; }
  [[nodiscard]] Result<std::unique_ptr<Channel>> create_channel(Kind kind, ChannelOptions options) override;
  [[nodiscard]] AddressSpace& address_space() override { return address_space_; }
  [[nodiscard]] Links& links() override { return *links_; }
  void retire(std::uint32_t channel) override;

 private:
  Device device_;
  AddressSpace address_space_;
  std::unique_ptr<Links> links_;  // once it is known how many there are
  std::array<bool, kMostChannels> used_{};
  bool is_up_ = false;
  bool is_pinned_ = false;
};

Result<void> AcceleratorImpl::move_window(std::uint64_t local_offset) {
  constexpr std::string_view kMoving = "moving the window of the accelerator";
  if (is_pinned_) return fail(device_.error(ErrorCode::refused, kMoving, "what it shows is exported to other devices"));
  if (local_offset % kUnitBytes != 0 || local_offset >= device_.facts.memory_bytes)
    return fail(device_.error(
        ErrorCode::out_of_range, kMoving,
        fmt::format("{:#x} is no multiple of 64 KiB within its {} bytes", local_offset, device_.facts.memory_bytes)));
  write(*device_.registers, WindowBaseRegister::from(local_offset));
  if (read<WindowBaseRegister>(*device_.registers).raw != local_offset)
    return fail(device_.silence(kMoving, "WINDOW_BASE does not keep what was written to it"));
  device_.window_base = local_offset;
  return {};
}

Result<std::unique_ptr<Channel>> AcceleratorImpl::create_channel(Kind kind, ChannelOptions options) {
  constexpr std::string_view kCreating = "creating a channel of the accelerator";
  const std::uint32_t copies = device_.facts.copy_channels;
  const auto first = used_.begin() + (kind == Kind::copy ? 0 : copies);
  const auto end = first + (kind == Kind::copy ? copies : device_.facts.compute_channels);
  const auto free = std::find(first, end, false);
  if (free == end)
    return fail(device_.error(ErrorCode::exhausted, kCreating,
                              fmt::format("all {} channels of this kind are in use", end - first)));
  const auto number = static_cast<std::uint32_t>(free - used_.begin());
  const std::uint32_t most = std::min(device_.facts.max_ring_entries, kMaxRingEntries);
  const std::uint32_t entries = std::min(std::bit_ceil(std::clamp(options.entries, 2u, kMaxRingEntries)), most);
  auto descriptors = device_.function->allocate_dma(entries * kDescriptorBytes, pci::DmaUse::control);
  if (!descriptors) return fail(std::move(descriptors.error()));
  auto completions = device_.function->allocate_dma(entries * kCompletionBytes, pci::DmaUse::control);
  if (!completions) return fail(std::move(completions.error()));
  *free = true;
  return ChannelImpl::create({.device = device_,
                              .owner = *this,
                              .kind = kind,
                              .number = number,
                              .entries = entries,
                              .descriptors = std::move(*descriptors),
                              .completions = std::move(*completions)});
}

void AcceleratorImpl::retire(std::uint32_t channel) {
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

Result<std::unique_ptr<Accelerator>> Accelerator::create(std::unique_ptr<pci::Function> function,
                                                         AcceleratorOptions options) {
  Device device;
  device.name = function->bdf().to_string();
  device.function = std::move(function);
  device.options = options;
  auto made = std::make_unique<AcceleratorImpl>(std::move(device));
  if (auto up = made->bring_up(); !up) return fail(std::move(up.error()));
  return made;
}

}  // namespace barter::drivers::accelerator
