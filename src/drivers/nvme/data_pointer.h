// From segments of memory to the data pointer of a command: Physical Region Pages (NVMe base 2.0, section 4.1.1) or a
// Scatter Gather List (section 4.1.2). Segments come from the caller; nothing is taken on trust, and nothing is
// allocated.
#pragma once
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "barter/address.hpp"
#include "drivers/nvme/commands/entry.h"
#include "drivers/nvme/commands/identify.h"
#include "peer/segments.h"

namespace barter::drivers::nvme {

// Each command in flight has one of these for the list that its data pointer may need: 512 PRP entries or 256 SGL
// descriptors. It is aligned to its size, so it never crosses a memory page and one list is always one segment.
inline constexpr std::size_t kListBytes = 4096;
inline constexpr std::size_t kListPrpEntries = kListBytes / 8;
inline constexpr std::size_t kListSglDescriptors = kListBytes / 16;

struct ListPage {
  std::span<std::uint64_t, kListPrpEntries> words;
  DmaAddress address;
};

// What the controller and the caller's options allow.
struct DataPointerRules {
  std::uint32_t page_log2 = 12;  // 12 + CC.MPS
  [[nodiscard]] constexpr std::uint64_t page_bytes() const { return std::uint64_t{1} << page_log2; }
  SglSupport sgl = SglSupport::none;
};

enum class DataProblem : std::uint8_t {
  wrong_length,   // the segments are not as long as the command's blocks
  no_segment,     // a segment of no bytes
  wraps_around,   // a segment ends beyond the last address
  not_aligned,    // can't be a PRP, and the controller takes no SGL for it
  too_scattered,  // more pieces than a list holds
};
[[nodiscard]] std::string_view explain(DataProblem problem);

// PRPs where two of them do; otherwise an SGL if the controller takes it and it is the shorter list, or the only one
// that can say it; otherwise a PRP list.
[[nodiscard]] std::expected<DataPointer, DataProblem> describe_data(std::span<const DmaSegment> segments,
                                                                    std::uint64_t bytes, const DataPointerRules& rules,
                                                                    const ListPage& list);

// Lists that describe_data() surely takes, if the command is within kListPrpEntries pages.
[[nodiscard]] peer::SegmentLimits data_limits(const DataPointerRules& rules);

}  // namespace barter::drivers::nvme
