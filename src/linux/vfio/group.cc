#include "linux/vfio/group.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "linux/system_error.h"
#include "linux/vfio/type1_info.h"
#include "linux/vfio/uapi.h"

namespace barter::linux_os::vfio {
namespace {

constexpr const char* kOpening = "opening for user space the function";
constexpr std::uint32_t kMaxInfoBytes = 64 << 10;  // far above what a kernel answers

Error error(ErrorCode code, std::string doing, std::string subject, std::string why, std::string cure = {}) {
  return {.code = code,
          .doing = std::move(doing),
          .subject = std::move(subject),
          .why = std::move(why),
          .cure = std::move(cure)};
}

// The container, as long as no group is in it.
Result<Descriptor> open_container() {
  constexpr const char* kFile = "/dev/vfio/vfio";
  Descriptor container(::open(kFile, O_RDWR | O_CLOEXEC));
  if (!container.is_open()) {
    const int number = errno;
    Error failed = system_error(number, "opening", kFile);
    if (number == ENOENT || number == ENODEV) {
      failed.code = ErrorCode::unsupported;
      failed.why = "this kernel has no VFIO, or its modules are not loaded";
      failed.cure = "modprobe vfio-pci";
    }
    return fail(std::move(failed));
  }
  if (ioctl(container.number(), VFIO_GET_API_VERSION) != VFIO_API_VERSION)
    return fail(error(ErrorCode::unsupported, "opening", kFile, "it speaks another version of VFIO's interface"));
  if (ioctl(container.number(), VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1)
    return fail(
        error(ErrorCode::unsupported, "opening", kFile,
              "it has no IOMMU of type 1, version 2: the module vfio_iommu_type1 is not loaded, or no IOMMU is on",
              "modprobe vfio_iommu_type1; turn the IOMMU on (intel_iommu=on, and the firmware's VT-d or AMD-Vi)"));
  return container;
}

Result<Descriptor> open_group(const PciSysfs& sysfs, Bdf function, std::uint32_t number) {
  const std::string file = fmt::format("/dev/vfio/{}", number);
  Descriptor group(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  if (!group.is_open()) {
    const int failed_with = errno;
    Error failed = system_error(failed_with, kOpening, fmt::format("{} ({})", function.to_string(), file));
    if (failed_with == EBUSY) {
      failed.why = "its IOMMU group is in use already, by this process or another one";
      failed.cure = "end what drives the devices of the group: fuser " + file;
    } else if (failed_with == ENOENT) {
      failed.code = ErrorCode::refused;
      failed.why = "it is not bound to vfio-pci";
      failed.cure = fmt::format("barter bind {} vfio-pci", function.to_string());
    }
    return fail(std::move(failed));
  }
  struct vfio_group_status status{};
  status.argsz = sizeof status;
  if (ioctl(group.number(), VFIO_GROUP_GET_STATUS, &status) != 0)
    return fail(system_error(errno, kOpening, function.to_string()));
  if ((status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) {
    const auto others = describe_functions(sysfs, sysfs.group_obstacles(function));
    return fail(error(ErrorCode::refused, kOpening, function.to_string(),
                      fmt::format("its IOMMU group {} also holds {}, and a group is given out as a whole", number,
                                  others.empty() ? "functions in the hands of the kernel" : others),
                      "bind those to vfio-pci too, or take their drivers away"));
  }
  return group;
}

Result<void> join(const Descriptor& container, const Descriptor& group, Bdf function) {
  int number = container.number();
  if (ioctl(group.number(), VFIO_GROUP_SET_CONTAINER, &number) != 0)
    return fail(system_error(errno, kOpening, function.to_string()));
  if (ioctl(container.number(), VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0) return {};
  const int failed_with = errno;
  Error failed = system_error(failed_with, kOpening, function.to_string());
  if (failed_with == EPERM) {
    failed.why =
        "the IOMMU does not guard interrupts (no interrupt remapping), and VFIO does without only when told to";
    failed.cure =
        "turn interrupt remapping on in the firmware, or, at the price of letting the device forge interrupts, "
        "modprobe vfio_iommu_type1 allow_unsafe_interrupts=1";
  }
  return fail(std::move(failed));
}

Result<Type1Info> read_info(const Descriptor& container, Bdf function) {
  std::vector<std::byte> answer(sizeof(struct vfio_iommu_type1_info));
  for (int round = 0; round < 2; ++round) {
    struct vfio_iommu_type1_info fixed{};
    fixed.argsz = static_cast<std::uint32_t>(answer.size());
    std::memcpy(answer.data(), &fixed, sizeof fixed.argsz);
    if (ioctl(container.number(), VFIO_IOMMU_GET_INFO, answer.data()) != 0)
      return fail(system_error(errno, "asking for the IOMMU's limits for", function.to_string()));
    std::memcpy(&fixed, answer.data(), sizeof fixed);
    if (fixed.argsz <= answer.size()) break;
    if (fixed.argsz > kMaxInfoBytes)
      return fail(error(ErrorCode::malformed, "asking for the IOMMU's limits for", function.to_string(),
                        fmt::format("the kernel's answer would have {} bytes", fixed.argsz)));
    answer.resize(fixed.argsz);
  }
  auto info = parse_type1_info(answer);
  if (info) return *std::move(info);
  return fail(error(ErrorCode::malformed, "asking for the IOMMU's limits for", function.to_string(), info.error()));
}

std::uint32_t flags_of(Access access) {
  std::uint32_t flags = 0;
  if (access != Access::write) flags |= VFIO_DMA_MAP_FLAG_READ;
  if (access != Access::read) flags |= VFIO_DMA_MAP_FLAG_WRITE;
  return flags;
}

}  // namespace

Result<std::shared_ptr<Group>> Group::open(const PciSysfs& sysfs, Bdf function) {
  const auto number = sysfs.iommu_group(function);
  if (!number)
    return fail(
        error(ErrorCode::unsupported, kOpening, function.to_string(),
              "no IOMMU translates for it, and VFIO without one (no-IOMMU mode) is not supported",
              "turn the IOMMU on: intel_iommu=on on the kernel's command line, VT-d or AMD-Vi in the firmware"));
  auto container = open_container();
  if (!container) return fail(std::move(container.error()));
  auto group = open_group(sysfs, function, *number);
  if (!group) return fail(std::move(group.error()));
  if (auto joined = join(*container, *group, function); !joined) return fail(std::move(joined.error()));
  auto info = read_info(*container, function);
  if (!info) return fail(std::move(info.error()));
  std::vector<IovaRange> avoided;
  for (const AddressRange& range : sysfs.memory_on_the_bus()) avoided.push_back({range.first, range.last});
  IovaSpace space(std::move(info->usable), std::move(avoided));
  return std::shared_ptr<Group>(new Group(*number, std::move(*container), std::move(*group), std::move(space)));
}

Result<Descriptor> Group::open_device(Bdf function) const {
  Descriptor device(ioctl(group_.number(), VFIO_GROUP_GET_DEVICE_FD, function.to_string().c_str()));
  if (device.is_open()) return device;
  const int failed_with = errno;
  Error failed = system_error(failed_with, kOpening, function.to_string());
  if (failed_with == ENODEV) {
    failed.code = ErrorCode::refused;
    failed.why = "it is not bound to vfio-pci";
    failed.cure = fmt::format("barter bind {} vfio-pci", function.to_string());
  }
  return fail(std::move(failed));
}

std::optional<std::uint64_t> Group::find_place(std::span<std::byte> memory, std::optional<DmaAddress> wanted) {
  const std::lock_guard lock(mutex_);
  if (wanted && space_.take(wanted->value, memory.size())) return wanted->value;
  return space_.allocate(memory.size(), memory.size() >= kSuperpageBytes ? kSuperpageBytes : kPageBytes);
}

Result<DmaAddress> Group::map(std::span<std::byte> memory, Access access, std::optional<DmaAddress> wanted) {
  const auto place = find_place(memory, wanted);
  if (!place)
    return fail(error(ErrorCode::exhausted, "mapping memory for", name(),
                      fmt::format("no {} bytes of DMA addresses are free in a row", memory.size())));
  struct vfio_iommu_type1_dma_map request{};
  request.argsz = sizeof request;
  request.flags = flags_of(access);
  request.vaddr = reinterpret_cast<std::uintptr_t>(memory.data());
  request.iova = *place;
  request.size = memory.size();
  if (ioctl(container_.number(), VFIO_IOMMU_MAP_DMA, &request) == 0) return DmaAddress{*place};
  const int failed_with = errno;
  {
    const std::lock_guard lock(mutex_);
    space_.give_back(*place);
  }
  return fail(map_error(failed_with, memory.size()));
}

Error Group::map_error(int error_number, std::uint64_t bytes) const {
  Error failed = system_error(error_number, "mapping memory for", name());
  if (error_number == ENOMEM) {
    struct rlimit limit{};
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    const bool is_limited = limit.rlim_cur != RLIM_INFINITY;
    failed.why = is_limited ? fmt::format("{} KiB more would go beyond the limit on locked memory, {} KiB", bytes >> 10,
                                          limit.rlim_cur >> 10)
                            : fmt::format("the kernel can't lock {} KiB more", bytes >> 10);
    failed.cure = is_limited ? "raise it: ulimit -l, or LimitMEMLOCK= of the service" : "free some memory";
  } else if (error_number == ENOSPC) {
    failed.why = "the container holds as many mappings as it may";
    failed.cure = "raise the parameter dma_entry_limit of the module vfio_iommu_type1";
  } else if (error_number == EFAULT) {
    failed.code = ErrorCode::device_gone;
    failed.why = "the memory is not there: of a device that is gone, or whose memory is turned off";
  }
  return failed;
}

Result<void> Group::unmap(DmaAddress address, std::uint64_t bytes) {
  struct vfio_iommu_type1_dma_unmap request{};
  request.argsz = sizeof request;
  request.iova = address.value;
  request.size = bytes;
  if (ioctl(container_.number(), VFIO_IOMMU_UNMAP_DMA, &request) != 0)
    return fail(system_error(errno, "unmapping memory for", name()));
  if (request.size != bytes)
    return fail(error(ErrorCode::io_failed, "unmapping memory for", name(),
                      fmt::format("the kernel unmapped {} bytes of {}", request.size, bytes)));
  const std::lock_guard lock(mutex_);
  space_.give_back(address.value);
  return {};
}

}  // namespace barter::linux_os::vfio
