#include "linux/vfio/function.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "linux/system_error.h"
#include "linux/vfio/host_memory.h"
#include "linux/vfio/uapi.h"
#include "pci/config_header.h"

namespace barter::linux_os::vfio {
namespace {

constexpr std::uint32_t kConfigBytes = 4096;

}  // namespace

VfioFunction::VfioFunction(std::shared_ptr<Host> host, std::shared_ptr<Group> group,
                           std::shared_ptr<const Descriptor> device, Bdf function)
    : host_(std::move(host)),
      group_(std::move(group)),
      device_(std::move(device)),
      bdf_(function),
      name_(function.to_string()),
      interrupts_(device_, name_) {}

Result<std::unique_ptr<VfioFunction>> VfioFunction::open(std::shared_ptr<Host> host, std::shared_ptr<Group> group,
                                                         Bdf function) {
  auto device = group->open_device(function);
  if (!device) return fail(std::move(device.error()));
  std::unique_ptr<VfioFunction> opened(new VfioFunction(
      std::move(host), std::move(group), std::make_shared<const Descriptor>(std::move(*device)), function));
  if (auto done = opened->look_around(); !done) return fail(std::move(done.error()));
  return opened;
}

Result<void> VfioFunction::look_around() {
  struct vfio_device_info info{};
  info.argsz = sizeof info;
  if (ioctl(device_->number(), VFIO_DEVICE_GET_INFO, &info) != 0)
    return fail(system_error(errno, "asking VFIO about", name_));
  if ((info.flags & VFIO_DEVICE_FLAGS_PCI) == 0)
    return fail(
        {.code = ErrorCode::malformed, .doing = "asking VFIO about", .subject = name_, .why = "it is no PCI function"});
  auto removal_request = RemovalRequest::watch(*device_, name_);
  if (!removal_request) return fail(std::move(removal_request.error()));
  removal_request_.emplace(std::move(*removal_request));
  can_reset_ = (info.flags & VFIO_DEVICE_FLAGS_RESET) != 0;
  auto config = read_region_info(*device_, name_, VFIO_PCI_CONFIG_REGION_INDEX);
  if (!config) return fail(std::move(config.error()));
  config_ = std::move(*config);
  auto command = read_config(pci::Command::kOffset, 2);
  if (!command) return fail(std::move(command.error()));
  memory_is_on_ = pci::Command::from(static_cast<std::uint16_t>(*command)).get(pci::Command::memory_space);

  // Where the BARs lie on the bus is read now: what is written to these registers later changes the kernel's copy alone.
  using B = pci::BaseAddress;
  for (unsigned index = 0; index < kBars; ++index) {
    const auto at = static_cast<std::uint16_t>(B::kOffset + B::kStrideBytes * index);
    auto low = read_config(at, 4);
    if (!low) return fail(std::move(low.error()));
    const auto bar = B::from(*low);
    if (bar.get(B::is_io)) continue;
    addresses_[index] = {*low & ~std::uint64_t{0xf}};
    if (bar.get(B::memory_type) != B::kType64 || index + 1 == kBars) continue;
    auto high = read_config(static_cast<std::uint16_t>(at + B::kStrideBytes), 4);
    if (!high) return fail(std::move(high.error()));
    addresses_[index].value |= std::uint64_t{*high} << 32;
    ++index;
  }
  return {};
}

VfioFunction::~VfioFunction() {
  memory_leaves();
  (void)interrupts_.disable();
  host_->closed(bdf_);
}

Result<void> VfioFunction::check_access(const char* doing, std::uint16_t offset, unsigned width_bytes) const {
  if ((width_bytes == 1 || width_bytes == 2 || width_bytes == 4) && offset % width_bytes == 0 && offset < kConfigBytes)
    return {};
  return fail({.code = ErrorCode::invalid_argument,
               .doing = doing,
               .subject = name_,
               .where = fmt::format("offset {:#x}", offset),
               .why = fmt::format("{} bytes there are not an aligned access", width_bytes)});
}

Result<std::uint32_t> VfioFunction::read_config(std::uint16_t offset, unsigned width_bytes) {
  if (auto fine = check_access("reading config space of", offset, width_bytes); !fine)
    return fail(std::move(fine.error()));
  if (offset >= config_.size_bytes) return width_bytes == 4 ? ~0u : (1u << 8 * width_bytes) - 1;
  std::uint32_t value = 0;  // little-endian, as config space is
  if (pread(device_->number(), &value, width_bytes, static_cast<off_t>(config_.file_offset_bytes + offset)) ==
      static_cast<ssize_t>(width_bytes))
    return value;
  return fail(system_error(errno, "reading config space of", name_));
}

Result<void> VfioFunction::write_raw(std::uint16_t offset, unsigned width_bytes, std::uint32_t value) {
  if (offset >= config_.size_bytes) return {};
  if (pwrite(device_->number(), &value, width_bytes, static_cast<off_t>(config_.file_offset_bytes + offset)) !=
      static_cast<ssize_t>(width_bytes))
    return fail(system_error(errno, "writing config space of", name_));
  return {};
}

Result<void> VfioFunction::write_config(std::uint16_t offset, unsigned width_bytes, std::uint32_t value) {
  if (auto fine = check_access("writing config space of", offset, width_bytes); !fine) return fine;
  if (offset != pci::Command::kOffset) return write_raw(offset, width_bytes, value);
  const bool on = pci::Command::from(static_cast<std::uint16_t>(value)).get(pci::Command::memory_space);
  if (memory_is_on_ && !on) memory_leaves();
  if (auto done = write_raw(offset, width_bytes, value); !done) return done;
  const bool was_on = std::exchange(memory_is_on_, on);
  if (on && !was_on)
    if (auto shown = show_memory(); !shown) return shown;
  // Reading it back waits until the write has arrived: requests that bus mastering allowed came before this answer.
  auto after = read_config(pci::Command::kOffset, 2);
  return after ? Result<void>{} : fail(std::move(after.error()));
}

void VfioFunction::heed_removal_request() {
  if (is_wanted_back_ || !removal_request_->take()) return;
  is_wanted_back_ = true;
  if (on_memory_leaving_) on_memory_leaving_();
}

void VfioFunction::on_memory_leaving(std::function<void()> callback) { on_memory_leaving_ = std::move(callback); }

void VfioFunction::memory_leaves() {
  if (on_memory_leaving_) on_memory_leaving_();
  for (const auto& known : bars_)
    if (const auto memory = known.lock()) memory->hide();
}

Result<void> VfioFunction::show_memory() {
  for (const auto& known : bars_)
    if (const auto memory = known.lock())
      if (auto shown = memory->show(); !shown) return shown;
  return {};
}

Result<std::shared_ptr<BarMemory>> VfioFunction::bar(unsigned index) {
  if (auto known = bars_[index].lock()) return known;
  auto info = read_region_info(*device_, name_, VFIO_PCI_BAR0_REGION_INDEX + index);
  if (!info) return fail(std::move(info.error()));
  if (info->size_bytes == 0 || addresses_[index].value == 0)
    return fail({.code = ErrorCode::not_found,
                 .doing = fmt::format("mapping BAR {} of", index),
                 .subject = name_,
                 .why = "it has no such memory BAR"});
  auto memory = BarMemory::create(device_, name_, std::move(*info), addresses_[index]);
  if (!memory) return memory;
  if (memory_is_on_)
    if (auto shown = (*memory)->show(); !shown) return fail(std::move(shown.error()));
  bars_[index] = *memory;
  host_->publish(*memory);
  return memory;
}

Result<std::unique_ptr<pci::Mmio>> VfioFunction::map_bar(unsigned index) {
  if (index >= kBars)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = fmt::format("mapping BAR {} of", index),
                 .subject = name_,
                 .why = "a function has BARs 0 to 5"});
  auto memory = bar(index);
  if (!memory) return fail(std::move(memory.error()));
  return std::make_unique<BarMmio>(std::move(*memory));
}

Result<pci::DmaBuffer> VfioFunction::allocate_dma(std::uint64_t bytes, pci::DmaUse /*use*/) {
  return allocate_host_memory(host_, group_, bytes, name_);
}

Result<pci::DmaBuffer> VfioFunction::share_dma(const pci::DmaBuffer& other) {
  if (!accepts_any_memory_ && !host_->is_lent(other.bytes()))
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "sharing host memory with",
                 .subject = name_,
                 .why = "no function of this machine has allocated it"});
  return share_host_memory(host_, group_, other);
}

Result<void> VfioFunction::reset() {
  base::log::warn("resetting {}", name_);
  if (!can_reset_)
    return fail({.code = ErrorCode::unsupported,
                 .doing = "resetting",
                 .subject = name_,
                 .why = "the kernel knows no way to reset this function alone"});
  memory_leaves();
  // The kernel would bring the interrupts back with the rest of config space.
  if (auto done = interrupts_.disable(); !done) return done;
  if (ioctl(device_->number(), VFIO_DEVICE_RESET) != 0) return fail(system_error(errno, "resetting", name_));
  return memory_is_on_ ? show_memory() : Result<void>{};
}

}  // namespace barter::linux_os::vfio
