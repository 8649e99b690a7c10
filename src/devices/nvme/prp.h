// Physical Region Page entries and lists: NVM Express base specification 2.0, section 4.1.1.
#pragma once
#include <array>
#include <cstdint>

#include "devices/nvme/data_list.h"

namespace barter::devices::nvme {

inline constexpr std::uint64_t kMaxPageBytes = 65536;  // CAP.MPSMAX of this model

struct PrpPair {
  std::uint64_t first = 0;   // PRP1
  std::uint64_t second = 0;  // PRP2
};

class PrpReader {
 public:
  // Adds `bytes` of data to the list. A list page is read once, so what is checked is what is used.
  [[nodiscard]] Status read(const Bus& bus, PrpPair prps, std::uint64_t bytes, std::uint64_t page_bytes,
                            DataList& into);

 private:
  [[nodiscard]] Status read_lists(const Bus& bus, std::uint64_t list, std::uint64_t bytes, std::uint64_t page_bytes,
                                  DataList& into);
  std::array<std::uint64_t, kMaxPageBytes / 8> entries_;
};

}  // namespace barter::devices::nvme
