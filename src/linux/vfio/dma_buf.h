// A part of a BAR as a dma-buf: a file descriptor that any process or driver may import, with no CPU address and no page
// (VFIO_DEVICE_FEATURE_DMA_BUF, Linux 6.19 and later). docs/dma-buf.md says what the kernel does with it, and what was seen.
//
// The kernel revokes it, for as long as it lasts, when the function's memory is turned off, when the function is reset or
// changes its power state, and for good when the device is closed. It tells importers in the kernel; a program that only
// holds the descriptor is not told, and finds out when it imports it the next time.
#pragma once
#include <cstdint>
#include <utility>

#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "linux/descriptor.h"
#include "linux/vfio/function.h"

namespace barter::linux_os::vfio {

class DmaBuf {
 public:
  // Whole pages of a memory BAR. ErrorCode::unsupported where the kernel, its configuration or the function has no such thing.
  [[nodiscard]] static Result<DmaBuf> create(const VfioFunction& function, unsigned bar, MemoryRange range);
  // Does the kernel know how, for this function? Makes nothing.
  [[nodiscard]] static Result<void> probe(const VfioFunction& function);

  [[nodiscard]] int descriptor() const { return file_.number(); }
  // As the kernel says.
  [[nodiscard]] Result<std::uint64_t> size_bytes() const;

 private:
  explicit DmaBuf(Descriptor file) : file_(std::move(file)) {}
  Descriptor file_;
};

}  // namespace barter::linux_os::vfio
