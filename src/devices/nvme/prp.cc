#include "devices/nvme/prp.h"

#include <algorithm>
#include <span>

namespace barter::devices::nvme {

Status PrpReader::read(const Bus& bus, PrpPair prps, std::uint64_t bytes, std::uint64_t page_bytes, DataList& into) {
  if (bytes == 0) return status::kSuccess;
  // The first entry may start inside a page, on a dword.
  if (prps.first % 4 != 0) return status::kPrpOffsetInvalid;
  const std::uint64_t first_bytes = std::min(bytes, page_bytes - prps.first % page_bytes);
  if (const Status added = into.add(bus, prps.first, first_bytes); !added.is_success()) return added;
  bytes -= first_bytes;
  if (bytes == 0) return status::kSuccess;
  if (bytes <= page_bytes) {
    if (prps.second % page_bytes != 0) return status::kPrpOffsetInvalid;
    return into.add(bus, prps.second, bytes);
  }
  if (prps.second % 8 != 0) return status::kPrpOffsetInvalid;
  return read_lists(bus, prps.second, bytes, page_bytes, into);
}

Status PrpReader::read_lists(const Bus& bus, std::uint64_t list, std::uint64_t bytes, std::uint64_t page_bytes,
                             DataList& into) {
  // Ends: only the first list may start inside its page, so every later one holds at least one page of data.
  while (true) {
    const std::uint64_t needed = (bytes + page_bytes - 1) / page_bytes;
    const std::uint64_t room = (page_bytes - list % page_bytes) / 8;
    const bool is_chained = needed > room;
    const std::uint64_t count = is_chained ? room : needed;
    if (const Status allowed = into.check_list(bus, list, count * 8); !allowed.is_success()) return allowed;
    const std::span<std::uint64_t> entries(entries_.data(), count);
    if (bus.read(list, std::as_writable_bytes(entries)) != fabric::Completion::successful) {
      return status::kDataTransferError;
    }
    for (const std::uint64_t entry : entries.first(count - (is_chained ? 1 : 0))) {
      if (entry % page_bytes != 0) return status::kPrpOffsetInvalid;
      const std::uint64_t part = std::min(bytes, page_bytes);
      if (const Status added = into.add(bus, entry, part); !added.is_success()) return added;
      bytes -= part;
    }
    if (!is_chained) return status::kSuccess;
    list = entries.back();
    if (list % page_bytes != 0) return status::kPrpOffsetInvalid;
  }
}

}  // namespace barter::devices::nvme
