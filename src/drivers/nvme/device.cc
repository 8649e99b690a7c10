#include "drivers/nvme/device.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace barter::drivers::nvme {

Error Device::error(ErrorCode code, std::string_view doing, std::string why, std::string cure) const {
  return {.code = code, .doing = std::string(doing), .subject = name, .why = std::move(why), .cure = std::move(cure)};
}

Error Device::silence(std::string_view doing, std::string_view facts) const {
  const auto status = read<Status>(*registers);
  if (status.is_gone())
    return error(ErrorCode::device_gone, doing, "the drive is no longer there: its registers read as all ones");
  auto state = fmt::format("CSTS is {:#x} (RDY {:d}, CFS {:d})", status.raw, status.get(Status::ready),
                           status.get(Status::fatal));
  if (!facts.empty()) state += fmt::format("; {}", facts);
  if (status.get(Status::fatal))
    return error(ErrorCode::device_failed, doing, "the controller reports a fatal error: " + state,
                 "reset the drive or power it off and on");
  return error(ErrorCode::timed_out, doing, "the controller has not answered in time: " + state,
               "give it more time, or reset the drive");
}

Result<ControlMemory> allocate_control(const Device& device, std::uint64_t bytes) {
  // A DmaBuffer is aligned to 4 KiB. For larger pages, enough is taken that an aligned part of it is long enough.
  const std::uint64_t page = device.page_bytes();
  const std::uint64_t slack = page - (std::uint64_t{1} << kMinPageLog2);
  auto buffer = device.function->allocate_dma(bytes + slack, pci::DmaUse::control);
  if (!buffer) return fail(std::move(buffer.error()));
  const std::uint64_t skip = (page - buffer->address().value % page) % page;
  if (buffer->bytes().size() < bytes || buffer->bytes().size() - bytes < skip)
    return fail(device.error(
        ErrorCode::exhausted, "allocating queue memory for",
        fmt::format("the machine gave memory at {:#x} that is not aligned to 4 KiB", buffer->address().value)));
  ControlMemory memory{.buffer = std::move(*buffer)};
  memory.bytes = memory.buffer.bytes().subspan(skip, bytes);
  memory.address = memory.buffer.address() + skip;
  return memory;
}

}  // namespace barter::drivers::nvme
