// The loader of lspci's text with a list of names of the caller's choice; load.h has the usual one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "barter/result.hpp"
#include "barter/topology.hpp"
#include "topology/pci_ids.h"

namespace barter::topology {

inline constexpr std::size_t kMaxLspciBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxLspciLineBytes = std::size_t{64} << 10;
inline constexpr std::size_t kMaxLspciFunctions = 65536;

[[nodiscard]] Result<TopologyParts> load_lspci_text(std::string_view text, std::string_view source, const PciIds& ids);

// Text wins where a dump has both (lspci -vvv -xxxx): it alone tells the sizes of BARs, and the hex below it is read
// for the numbers of vendor and device.
enum class LspciKind : std::uint8_t { text, hex };
[[nodiscard]] LspciKind kind_of_lspci(std::string_view text);

}  // namespace barter::topology
