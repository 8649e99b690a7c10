#include "linux/vfio/interrupts.h"

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "linux/system_error.h"
#include "linux/vfio/uapi.h"

namespace barter::linux_os::vfio {
namespace {

constexpr unsigned kMaxVectors = 2048;  // MSI-X has no more (PCIe 6.0, 7.7.2.2)

}  // namespace

Result<unsigned> Interrupts::vectors() const {
  struct vfio_irq_info info{};
  info.argsz = sizeof info;
  info.index = VFIO_PCI_MSIX_IRQ_INDEX;
  if (ioctl(device_->number(), VFIO_DEVICE_GET_IRQ_INFO, &info) != 0)
    return fail(system_error(errno, "asking for the interrupts of", name_));
  return (info.flags & VFIO_IRQ_INFO_EVENTFD) != 0 ? info.count : 0;
}

Result<void> Interrupts::disable() {
  events_.clear();
  struct vfio_irq_set request{};
  request.argsz = sizeof request;
  request.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
  request.index = VFIO_PCI_MSIX_IRQ_INDEX;
  // A kernel refuses to turn off what is not on, which is as good.
  if (ioctl(device_->number(), VFIO_DEVICE_SET_IRQS, &request) == 0 || errno == EINVAL) return {};
  return fail(system_error(errno, "disabling the interrupts of", name_));
}

Result<void> Interrupts::enable(unsigned count) {
  const auto refuse = [&](std::string why) {
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = fmt::format("enabling {} interrupts of", count),
                 .subject = name_,
                 .why = std::move(why)});
  };
  if (count == 0 || count > kMaxVectors) return refuse(fmt::format("a function has 1 to {} vectors", kMaxVectors));
  auto available = vectors();
  if (!available) return fail(std::move(available.error()));
  if (count > *available) return refuse(fmt::format("it has {} MSI-X vectors", *available));
  if (auto done = disable(); !done) return done;

  std::vector<Descriptor> events;
  std::vector<std::int32_t> numbers;
  for (unsigned vector = 0; vector < count; ++vector) {
    events.emplace_back(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!events.back().is_open()) return fail(system_error(errno, "making an eventfd for", name_));
    numbers.push_back(events.back().number());
  }
  struct vfio_irq_set fixed{};
  std::vector<std::byte> request(sizeof fixed + numbers.size() * sizeof numbers[0]);
  fixed.argsz = static_cast<std::uint32_t>(request.size());
  fixed.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
  fixed.index = VFIO_PCI_MSIX_IRQ_INDEX;
  fixed.count = count;
  std::memcpy(request.data(), &fixed, sizeof fixed);
  std::memcpy(request.data() + sizeof fixed, numbers.data(), numbers.size() * sizeof numbers[0]);
  if (ioctl(device_->number(), VFIO_DEVICE_SET_IRQS, request.data()) != 0)
    return fail(system_error(errno, fmt::format("enabling {} interrupts of", count), name_));
  events_ = std::move(events);
  return {};
}

bool Interrupts::take(unsigned vector) {
  if (vector >= events_.size()) return false;
  std::uint64_t count = 0;
  return read(events_[vector].number(), &count, sizeof count) == static_cast<ssize_t>(sizeof count) && count != 0;
}

}  // namespace barter::linux_os::vfio
