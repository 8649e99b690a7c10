#include "devices/accelerator/accelerator_model.h"

#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

namespace barter::devices::accelerator {

Accelerator::Accelerator(fabric::FunctionIdentity identity, const FixedRegisters& fixed, AnonymousMemory memory,
                         std::uint64_t bytes_per_step, std::uint64_t unit)
    : identity_(std::move(identity)),
      backing_(std::move(memory)),
      links_(
          fixed.links,
          {.memory = backing_.bytes(),
           .unit = unit,
           // Where it answers at its registers: off without power, and after a reset until a driver has turned it on.
           .is_on =
               [this] {
                 return requester_ != nullptr && requester_->bar_address(ring_device::kRegisterBar).has_value();
               }},
          [this](std::string what) { record(std::move(what)); }),
      registers_(fixed, links_, [this](std::string what) { record(std::move(what)); }),
      memory_(backing_.bytes(), links_),
      stepper_(registers_) {
  for (std::uint32_t number = 0; number < fixed.channels(); ++number)
    stepper_.add({ring_device::Ring(number, registers_, [this](std::string what) { record(std::move(what)); }),
                  ChannelJob(number, registers_, memory_), bytes_per_step});
}

void Accelerator::attach(fabric::Requester& requester) {
  requester_ = &requester;
  stepper_.attach(requester);
}

void Accelerator::record(std::string what) {
  const std::scoped_lock lock(violation_mutex_);
  violation(std::move(what));
}

std::uint64_t Accelerator::read_register(unsigned bar, BarOffset at, unsigned width_bytes) {
  if (bar == ring_device::kRegisterBar) return registers_.read(at.value, width_bytes);
  record(fmt::format("a read of BAR {} at {:#x}, where the window shows no memory", bar, at.value));
  return ~std::uint64_t{0};
}

void Accelerator::write_register(unsigned bar, BarOffset at, unsigned width_bytes, std::uint64_t value) {
  if (bar != ring_device::kRegisterBar) {
    record(fmt::format("a write to BAR {} at {:#x}, where the window shows no memory", bar, at.value));
    return;
  }
  if (registers_.write(at.value, width_bytes, value)) requester_->windows_changed();
}

std::vector<fabric::MemoryWindow> Accelerator::windows() {
  const std::uint64_t base = registers_.window_base();
  const std::uint64_t bytes = std::min(registers_.fixed().window_bytes, registers_.fixed().memory_bytes - base);
  return {{kWindowBar, {0}, backing_.bytes().subspan(base, bytes)}};
}

// No slice is under way here, and the next one reads the tables anew.
void Accelerator::follow_registers(bool becomes_ready) {
  if (becomes_ready) {
    registers_.clear_fault();
    memory_.forget_translations();
  }
  memory_.set_root(registers_.table_root());
  if (registers_.invalidation_is_asked()) {
    memory_.forget_translations();
    registers_.invalidated();
  }
}

void Accelerator::reset() {
  stepper_.reset([this] {
    registers_.clear_own();
    links_.reset();  // before the memory goes: from here on no peer is in it
    memory_.set_root({});
    backing_.zero(0, backing_.bytes().size());
  });
  if (requester_ != nullptr) requester_->windows_changed();
}

namespace {

std::unexpected<Error> refuse(std::string why, std::string cure) {
  return fail({.code = ErrorCode::invalid_argument,
               .doing = "making an accelerator",
               .why = std::move(why),
               .cure = std::move(cure)});
}

constexpr std::uint64_t kMaxMemoryBytes = std::uint64_t{1} << 44;

Result<void> check(const AcceleratorSetup& setup, std::uint64_t window_bytes) {
  if (setup.memory_bytes == 0 || setup.memory_bytes % kMemoryUnitBytes != 0 || setup.memory_bytes > kMaxMemoryBytes)
    return refuse(fmt::format("its memory would have {} bytes", setup.memory_bytes),
                  "choose a multiple of 64 KiB, at most 16 TiB");
  if (!std::has_single_bit(window_bytes) || window_bytes < kMemoryUnitBytes ||
      window_bytes > std::bit_ceil(setup.memory_bytes))
    return refuse(fmt::format("its window would have {} bytes", window_bytes),
                  "choose a power of two from 64 KiB, no larger than the memory rounded up to one");
  const std::uint32_t channels = std::uint32_t{setup.copy_channels} + setup.compute_channels;
  if (channels == 0 || channels > kMaxChannels)
    return refuse(fmt::format("it would have {} channels", channels), fmt::format("choose 1 to {}", kMaxChannels));
  if (setup.ring_log2 == 0 || setup.ring_log2 > ring_device::kMaxRingLog2)
    return refuse(fmt::format("its rings would have up to 2^{} entries", setup.ring_log2), "choose 1 to 15");
  if (setup.links > kMaxLinks)
    return refuse(fmt::format("it would have {} links", setup.links), fmt::format("choose up to {}", kMaxLinks));
  return {};
}

}  // namespace

Result<std::unique_ptr<fabric::Device>> create_accelerator(const AcceleratorSetup& setup) {
  const std::uint64_t window_bytes =
      setup.window_bytes != 0 || setup.memory_bytes == 0 || setup.memory_bytes > kMaxMemoryBytes
          ? setup.window_bytes
          : std::bit_ceil(setup.memory_bytes);
  if (auto checked = check(setup, window_bytes); !checked) return fail(std::move(checked.error()));
  auto memory = AnonymousMemory::create(setup.memory_bytes);
  if (!memory) return fail(std::move(memory.error()));
  const FixedRegisters fixed{.memory_bytes = setup.memory_bytes,
                             .window_bytes = window_bytes,
                             .copy_channels = setup.copy_channels,
                             .compute_channels = setup.compute_channels,
                             .ring_log2 = setup.ring_log2,
                             .links = setup.links};
  fabric::FunctionIdentity identity{
      .vendor_id = setup.vendor_id,
      .device_id = setup.device_id,
      .subsystem_vendor_id = setup.vendor_id,
      .subsystem_id = setup.device_id,
      .class_code = kProcessingAccelerator,
      .revision = 1,
      .bars = {{.index = ring_device::kRegisterBar, .size_bytes = kRegisterBarBytes},
               {.index = kWindowBar, .size_bytes = window_bytes, .is_64bit = true, .is_prefetchable = true}},
      .msix_vectors = fixed.channels(),
      .msix_bar = ring_device::kRegisterBar,
      .msix_table = {kMsixTable},
      .msix_pending = {kMsixPending}};
  return std::make_unique<Accelerator>(std::move(identity), fixed, std::move(*memory),
                                       setup.bytes_per_step != 0 ? setup.bytes_per_step : ring_device::kMaxBytesPerStep,
                                       setup.unit);
}

Result<void> connect(LinkEnd first, LinkEnd second) {
  auto* const one = dynamic_cast<Accelerator*>(&first.device);
  auto* const other = dynamic_cast<Accelerator*>(&second.device);
  if (one != nullptr && other != nullptr && LinkPorts::connect(one->links(), first.port, other->links(), second.port))
    return {};
  return fail({.code = ErrorCode::invalid_argument,
               .doing = "linking two accelerators",
               .subject = fmt::format("by port {} and port {}", first.port, second.port),
               .why = one == nullptr || other == nullptr ? "one of them is no accelerator"
                      : one == other                     ? "they are one and the same"
                                                         : "a port is not there, or is in use",
               .cure = "use a free port of each"});
}

void set_link(LinkEnd end, bool works) {
  if (auto* const accelerator = dynamic_cast<Accelerator*>(&end.device))
    accelerator->links().set_works(end.port, works);
}

}  // namespace barter::devices::accelerator
