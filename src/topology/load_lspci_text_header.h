// The first line of a function in lspci's text: what it is called and what it is.
//
//   00:00.0 Host bridge: Intel Corporation Haswell-E DMI2 (rev 02)                                  lspci -v
//   0000:00:00.0 Host bridge [0600]: Intel Corporation Haswell-E DMI2 [8086:2f00] (rev 02)          lspci -Dnnv
//   00:01.0 0604: 8086:2f02 (rev 02) (prog-if 00 [Normal decode])                                   lspci -nv
#pragma once
#include <optional>
#include <string_view>

#include "barter/topology.hpp"
#include "topology/pci_ids.h"

namespace barter::topology {

// The function that this line begins, if it begins one.
[[nodiscard]] std::optional<Bdf> function_begun_by(std::string_view line);

// Everything that the first line tells. Nothing if the line has no class and name.
[[nodiscard]] std::optional<FunctionInfo> parse_lspci_header(std::string_view line, Bdf bdf, const PciIds& ids);

}  // namespace barter::topology
