// From the bytes of a function's config space to what a topology knows of it. Loaders of files use it, and so does the
// software fabric for its own functions.
#pragma once
#include <expected>
#include <string_view>
#include <vector>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "barter/topology.hpp"
#include "pci/config_space.h"
#include "pci/defect.h"

namespace barter::topology {

// Everything that config space tells; the rest (name, NUMA node, IOMMU group, sizes of BARs) stays unknown and says so.
// What lies beyond the known bytes is unknown because of that, never "not there". `source` is where the bytes are from,
// for messages: "lspci:server.txt".
// Errors, with the function and the offset: fewer than 64 bytes, a broken capability list, a BAR that makes no sense.
[[nodiscard]] Result<FunctionInfo> function_from_config(Bdf bdf, const pci::ConfigSpace& config,
                                                        std::string_view source);

// The two halves of it, for a loader that can say more of the place of a fault than its offset.
[[nodiscard]] std::expected<FunctionInfo, pci::Defect> describe_function(Bdf bdf, const pci::ConfigSpace& config);
[[nodiscard]] Error config_error(Bdf bdf, const pci::Defect& defect, std::string_view source);

// A function of whose config space not one byte is known, because of `why`.
[[nodiscard]] FunctionInfo function_without_config(Bdf bdf, const Unknown& why);

// The virtual functions that a physical function's SR-IOV capability has turned on (PCIe 6.0, 9.3.3). Those whose number
// would not fit the 16 bits of a Requester ID are left out.
[[nodiscard]] std::vector<Bdf> virtual_functions_of(Bdf physical_function, const pci::ConfigSpace& config);

// A virtual function's config space leaves to the physical function what both share (PCIe 6.0, 9.3.4, 9.3.5): the vendor,
// the sizes of packets, the link. Takes it over from there.
void complete_virtual_function(FunctionInfo& virtual_function, const FunctionInfo& physical_function);

}  // namespace barter::topology
