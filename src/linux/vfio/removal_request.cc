#include "linux/vfio/removal_request.h"

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "linux/system_error.h"
#include "linux/vfio/uapi.h"

namespace barter::linux_os::vfio {

Result<RemovalRequest> RemovalRequest::watch(const Descriptor& device, const std::string& name) {
  Descriptor event(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!event.is_open()) return fail(system_error(errno, "making an eventfd for", name));
  const std::int32_t number = event.number();
  struct vfio_irq_set fixed{};
  std::array<std::byte, sizeof fixed + sizeof number> request{};
  fixed.argsz = request.size();
  fixed.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
  fixed.index = VFIO_PCI_REQ_IRQ_INDEX;
  fixed.count = 1;
  std::memcpy(request.data(), &fixed, sizeof fixed);
  std::memcpy(request.data() + sizeof fixed, &number, sizeof number);
  if (ioctl(device.number(), VFIO_DEVICE_SET_IRQS, request.data()) != 0)
    return fail(system_error(errno, "asking to be told when the kernel wants back", name));
  return RemovalRequest(std::move(event));
}

bool RemovalRequest::take() {
  std::uint64_t count = 0;
  return read(event_.number(), &count, sizeof count) == static_cast<ssize_t>(sizeof count) && count != 0;
}

}  // namespace barter::linux_os::vfio
