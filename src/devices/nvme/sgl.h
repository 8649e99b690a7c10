// Scatter Gather Lists: NVM Express base specification 2.0, section 4.1.2.
#pragma once
#include <array>
#include <cstdint>

#include "base/register.h"
#include "devices/nvme/data_list.h"

namespace barter::devices::nvme {

enum class SglType : std::uint8_t {
  data_block = 0x0,
  bit_bucket = 0x1,
  segment = 0x2,
  last_segment = 0x3,
  keyed_data_block = 0x4,      // fabrics only
  transport_data_block = 0x5,  // fabrics only
};

struct SglDescriptor {
  std::uint64_t address = 0;
  std::uint32_t bytes = 0;
  std::uint32_t identifier = 0;  // reserved below bit 24

  [[nodiscard]] SglType type() const { return static_cast<SglType>(identifier >> 28); }
  [[nodiscard]] std::uint8_t subtype() const { return identifier >> 24 & 0xf; }
};
static_assert(sizeof(SglDescriptor) == 16);

// The most descriptors that one command may make the controller read. PCIe has no field to announce it.
inline constexpr std::uint64_t kMaxSglDescriptors = 8192;

class SglReader {
 public:
  // Adds the data to the list, which must come to exactly `bytes`.
  [[nodiscard]] Status read(const Bus& bus, SglDescriptor first, std::uint64_t bytes, DataList& into);

 private:
  struct Segment {
    std::uint64_t address = 0;
    std::uint64_t descriptors = 0;
    bool is_last = false;
  };
  [[nodiscard]] static Status check_segment(const SglDescriptor& descriptor, Segment& next);
  [[nodiscard]] static Status add(const Bus& bus, const SglDescriptor& descriptor, DataList& into);
  [[nodiscard]] Status read_segment(const Bus& bus, Segment& segment, DataList& into);

  static constexpr std::uint64_t kAtOnce = 256;
  std::array<SglDescriptor, kAtOnce> descriptors_;
  std::uint64_t descriptors_read_ = 0;
};

}  // namespace barter::devices::nvme
