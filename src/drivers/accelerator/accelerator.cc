#include "drivers/accelerator/accelerator.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "drivers/accelerator/address_space.h"
#include "drivers/accelerator/channel.h"
#include "drivers/accelerator/device.h"
#include "drivers/accelerator/links.h"

namespace barter::drivers::accelerator {
namespace {

class AcceleratorImpl final : public Accelerator {
 public:
  AcceleratorImpl(std::unique_ptr<pci::Function> function, const AcceleratorOptions& options)
      : device_(kDeviceKind, std::move(function), options), address_space_(device_) {}
  ~AcceleratorImpl() override { stop_dma(device_); }

  [[nodiscard]] Result<void> bring_up() {
    if (auto opened = open_function(device_); !opened) return opened;
    if (auto known = read_facts(device_); !known) return known;
    links_ = std::make_unique<Links>(device_);
    if (auto on = start_afresh(device_); !on) return on;
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

 private:
  Device device_;
  AddressSpace address_space_;
  std::unique_ptr<Links> links_;  // once it is known how many there are
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
  const AcceleratorFacts& facts = device_.facts;
  const bool is_copy = kind == Kind::copy;
  if (options.page_requests && !facts.makes_page_requests)
    return fail(device_.error(ErrorCode::unsupported, "creating a channel of the accelerator",
                              "it makes no page requests: it is of a version before 1.2"));
  auto parts = prepare_ring(device_, {.first_channel = is_copy ? 0 : facts.copy_channels,
                                      .channels = is_copy ? facts.copy_channels : facts.compute_channels,
                                      .which = " of this kind",
                                      .entries = std::max(options.entries, options.page_requests ? 4u : 2u),
                                      .max_entries = facts.max_ring_entries});
  if (!parts) return fail(std::move(parts.error()));
  parts->takes_requests = options.page_requests;
  auto channel = std::make_unique<ChannelImpl>(device_, kind, std::move(*parts));
  if (auto started = channel->start(); !started) return fail(std::move(started.error()));
  return channel;
}

}  // namespace

Result<std::unique_ptr<Accelerator>> Accelerator::create(std::unique_ptr<pci::Function> function,
                                                         AcceleratorOptions options) {
  auto made = std::make_unique<AcceleratorImpl>(std::move(function), options);
  if (auto up = made->bring_up(); !up) return fail(std::move(up.error()));
  return made;
}

}  // namespace barter::drivers::accelerator
