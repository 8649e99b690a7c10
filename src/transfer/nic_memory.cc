#include "transfer/nic_memory.h"

#include <algorithm>
#include <utility>

#include "drivers/nic/nic.h"
#include "peer/exchange.h"
#include "peer/pointers.h"
#include "transfer/leased.h"

namespace barter::transfer {

Result<NicMemory> NicMemory::of(const std::shared_ptr<machine::State>& machine, machine::DriveUnit& unit,
                                std::span<std::byte> memory, RegisterOptions options) {
  NicMemory made;
  made.size_bytes_ = memory.size();
  const auto runs = machine->exchange().pointers().runs(memory);
  std::vector<std::vector<Lease>> leases(runs.size());  // none: by way of the buffer
  std::size_t buffer_bytes = 0;
  for (std::size_t index = 0; index < runs.size(); ++index) {
    const peer::PointerRun& run = runs[index];
    const std::span<std::byte> here = memory.subspan(run.range.offset, run.range.bytes);
    ++made.way_.parts;
    if (run.region || run.managed) {
      auto registration = Registration::create(machine, unit, here, options);
      auto leased = registration ? registration->lease() : std::unexpected(registration.error());
      if (!leased && leased.error().code == ErrorCode::device_gone) return std::unexpected(std::move(leased.error()));
      if (leased) {
        for (const Residence& part : registration->where())
          (part.state == PageState::device ? made.way_.direct_bytes : made.way_.host_bytes) += part.range.bytes;
        leases[index] = std::move(*leased);
        made.registrations_.push_back(std::move(*registration));
        continue;
      }
      if (made.way_.why_copied.empty()) made.way_.why_copied = std::move(leased.error().why);
    }
    made.way_.copied_bytes += here.size();
    made.copied_.push_back({.own = here, .offset = run.range.offset, .in_buffer = buffer_bytes});
    buffer_bytes += here.size();
  }
  if (buffer_bytes != 0) {
    auto buffer = unit.nic->function().allocate_dma(buffer_bytes, pci::DmaUse::data);
    if (!buffer) return std::unexpected(std::move(buffer.error()));
    made.buffer_ = std::move(*buffer);
  }
  auto copied = made.copied_.begin();
  for (std::vector<Lease>& of_run : leases) {
    for (Lease& lease : of_run) {
      for (const DmaSegment& segment : lease.segments()) peer::append(made.segments_, segment);
      made.leases_.push_back(std::move(lease));
    }
    if (!of_run.empty()) continue;
    peer::append(made.segments_, {made.buffer_.address() + copied->in_buffer, copied->own.size()});
    ++copied;
  }
  return made;
}

Result<NicMemory> NicMemory::of(const machine::DriveUnit& unit, std::span<const Lease> leases, Access access) {
  auto segments = gather(leases, unit.bdf, access);
  if (!segments)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "telling memory to",
                 .subject = unit.name,
                 .why = std::move(segments.error())});
  NicMemory made;
  made.segments_ = std::move(*segments);
  made.size_bytes_ = *peer::size_of(made.segments_);
  made.way_.direct_bytes = made.size_bytes_;
  made.way_.parts = 1;
  return made;
}

bool NicMemory::is_taken_back() const { return std::ranges::any_of(registrations_, &Registration::is_stale); }

void NicMemory::fill_buffer() {
  for (const Copied& part : copied_) std::ranges::copy(part.own, buffer_.bytes().subspan(part.in_buffer).begin());
}

void NicMemory::empty_buffer(std::uint64_t bytes) const {
  for (const Copied& part : copied_) {
    if (part.offset >= bytes) break;
    const std::size_t count = std::min<std::uint64_t>(part.own.size(), bytes - part.offset);
    std::ranges::copy(buffer_.bytes().subspan(part.in_buffer, count), part.own.begin());
  }
}

}  // namespace barter::transfer
