// The seam to what joins devices beside PCIe: a link from accelerator to accelerator, for one. The Exchange asks every
// interconnect that it was given, beside PCIe's rule, and takes the better route (docs/peer.md, "Other ways than PCIe").
//
// Each end of an interconnect has a guard of its own at the device that owns the memory: what was not opened there, no request
// of the other end reaches. So a mapping by an interconnect is cut off as one behind an IOMMU is, whatever its importer does.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "barter/verdict.hpp"

namespace barter::peer {

inline constexpr std::size_t kMaxInterconnects = 8;

class Interconnect {
 public:
  virtual ~Interconnect() = default;

  // For people and programs: "link".
  [[nodiscard]] virtual std::string_view name() const = 0;

  // Both must be functions of the machine, and are not the same. Asked for each mapping, and not remembered: what was down may
  // be up again. Any thread; no lock is held.
  struct Answer {
    bool is_joined = false;      // is there anything between the two at all?
    bool is_up = false;          // and does it work now?
    std::uint32_t distance = 0;  // hops
    std::string why;             // one sentence: what joins them, or what is wrong with it; empty if nothing joins them
  };
  [[nodiscard]] virtual Answer ask(Bdf client, Bdf provider) = 0;
  // What the answer was made of, for people; none if nothing joins them.
  [[nodiscard]] virtual std::vector<Fact> facts(Bdf client, Bdf provider) = 0;

  // A part of the provider's memory that is to be opened to the client, and what it may do there.
  struct Way {
    Bdf client;
    Bdf provider;
    MemoryRange range;  // within the exporter's memory
    Access access = Access::read;
  };
  // Opens exactly this, and says how the client's engines name its first byte, which has the same place in its 4 KiB as on the
  // bus; the rest follows it. ErrorCode::exhausted: as much
  // is open as can be; no_route: it is down. Then nothing is open.
  [[nodiscard]] virtual Result<LinkAddress> open(const Way& way) = 0;
  // Takes one open() back. When it returns, no byte arrives by it any more, whatever the client does: true too where a device has
  // left. An error: it could not be closed.
  [[nodiscard]] virtual Result<void> close(const Way& way, LinkAddress address) = 0;
};

}  // namespace barter::peer
