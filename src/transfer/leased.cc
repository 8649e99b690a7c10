#include "transfer/leased.h"

#include <fmt/format.h>

namespace barter::transfer {

std::expected<peer::SegmentList, std::string> gather(std::span<const Lease> leases, Bdf importer, Access needed) {
  if (leases.empty()) return std::unexpected("there is no memory");
  peer::SegmentList all;
  for (const Lease& lease : leases) {
    if (lease.segments().empty()) return std::unexpected("the lease is empty");
    if (lease.importer() != importer)
      return std::unexpected(
          fmt::format("the memory is mapped for {}, not for {}", lease.importer().to_string(), importer.to_string()));
    if ((static_cast<unsigned>(lease.access()) & static_cast<unsigned>(needed)) == 0)
      return std::unexpected(needed == Access::write ? "the memory is mapped for reading only"
                                                     : "the memory is mapped for writing only");
    for (const DmaSegment& segment : lease.segments()) peer::append(all, segment);
  }
  if (const auto size = peer::size_of(all); !size) return std::unexpected(std::string(explain(size.error())));
  return all;
}

}  // namespace barter::transfer
