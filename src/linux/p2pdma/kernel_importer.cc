#include "linux/p2pdma/kernel_importer.h"

#include <limits>

#include <fmt/format.h>

namespace barter::linux_os {
namespace {

// Twice what the nvme driver lets a command run before it resets the drive (nvme_core.io_timeout, 30 s unless changed).
constexpr Duration kLongestIo = std::chrono::seconds(60);

}  // namespace

Result<DmaAddress> PointerDomain::map(BusAddress target, std::uint64_t bytes, Access) {
  if (bytes == 0 || target.value == 0 || bytes > std::numeric_limits<std::uint64_t>::max() - target.value)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "mapping memory for a drive of the kernel",
                 .why = fmt::format("{} bytes at {:#x} are no memory of this process", bytes, target.value)});
  return DmaAddress{target.value};
}

bool KernelImporter::begin() {
  // Counted before the look: isolate() sets the mark and then looks at the count, so one of the two sees the other.
  in_flight_.fetch_add(1, std::memory_order_seq_cst);
  if (!isolated_.load(std::memory_order_seq_cst)) return true;
  end();
  return false;
}

Result<void> KernelImporter::isolate() {
  isolated_.store(true, std::memory_order_seq_cst);
  std::uint64_t left = 0;
  const bool quiet = base::wait_until(clock_, clock_.now() + kLongestIo, [&] {
    make_progress();
    left = in_flight_.load(std::memory_order_seq_cst);
    return left == 0;
  });
  if (quiet) return {};
  return fail(
      {.code = ErrorCode::timed_out,
       .doing = "waiting for the last I/O of",
       .subject = function_.to_string(),
       .why = fmt::format("{} requests to memory of peers have not ended, and what the kernel has started can't be "
                          "called back",
                          left),
       .cure = "reset the drive: write 1 to its reset_controller in sysfs"});
}

}  // namespace barter::linux_os
