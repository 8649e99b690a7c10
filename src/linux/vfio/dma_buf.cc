#include "linux/vfio/dma_buf.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "linux/system_error.h"
#include "linux/vfio/uapi.h"

namespace barter::linux_os::vfio {
namespace {

constexpr const char* kExporting = "exporting as a dma-buf the memory of";

Error explain(int error_number, const VfioFunction& function) {
  Error failed = system_error(error_number, kExporting, function.name());
  if (error_number == ENOTTY) {
    failed.code = ErrorCode::unsupported;
    failed.why = "this kernel's VFIO exports no dma-bufs: it is older than 6.19, or built without VFIO_PCI_DMABUF";
    failed.cure = "use a newer kernel; copies between drives of one program don't need it";
  } else if (error_number == ENODEV || error_number == EOPNOTSUPP) {
    failed.code = ErrorCode::unsupported;
    failed.why = "the kernel has no peer-to-peer provider for this BAR";
  } else if (error_number == EINVAL) {
    failed.why =
        "the kernel takes whole pages within a memory BAR that it could map, and no more than its limit of ranges";
  }
  return failed;
}

}  // namespace

Result<void> DmaBuf::probe(const VfioFunction& function) {
  struct vfio_device_feature feature{};
  feature.argsz = sizeof feature;
  feature.flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET | kFeatureDmaBuf;
  if (ioctl(function.device()->number(), VFIO_DEVICE_FEATURE, &feature) == 0) return {};
  return fail(explain(errno, function));
}

Result<DmaBuf> DmaBuf::create(const VfioFunction& function, unsigned bar, MemoryRange range) {
  struct vfio_device_feature feature{};
  const FeatureDmaBuf fixed{.region_index = bar, .open_flags = O_RDWR | O_CLOEXEC, .range_count = 1};
  const FeatureDmaBufRange part{.offset_bytes = range.offset, .length_bytes = range.bytes};
  std::vector<std::byte> request(sizeof feature + sizeof fixed + sizeof part);
  feature.argsz = static_cast<std::uint32_t>(request.size());
  feature.flags = VFIO_DEVICE_FEATURE_GET | kFeatureDmaBuf;
  std::memcpy(request.data(), &feature, sizeof feature);
  std::memcpy(request.data() + sizeof feature, &fixed, sizeof fixed);
  std::memcpy(request.data() + sizeof feature + sizeof fixed, &part, sizeof part);
  Descriptor file(ioctl(function.device()->number(), VFIO_DEVICE_FEATURE, request.data()));
  if (file.is_open()) return DmaBuf(std::move(file));
  Error failed = explain(errno, function);
  failed.where = fmt::format("BAR {}, {:#x} bytes at {:#x}", bar, range.bytes, range.offset);
  return fail(std::move(failed));
}

Result<std::uint64_t> DmaBuf::size_bytes() const {
  const off_t end = lseek(file_.number(), 0, SEEK_END);
  if (end < 0) return fail(system_error(errno, "asking for the size of", "a dma-buf"));
  return static_cast<std::uint64_t>(end);
}

}  // namespace barter::linux_os::vfio
