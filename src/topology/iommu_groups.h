// The IOMMU groups that Linux would form: for machines whose source doesn't tell them, such as our own descriptions.
//
// A group is the smallest set of functions that an IOMMU can keep apart from the others: within one, a function can
// reach another without the IOMMU seeing it, or in its name. Linux forms groups once, when it finds a function, out
// of what the function's registers say then (drivers/iommu/iommu.c, pci_device_group(); drivers/pci/pci.c,
// pci_acs_enabled()):
//
//   1. unless every bridge from here to the root bus isolates, a function is in the group of the bridge above;
//   2. else it shares a group with those functions of its device that, like itself, have no ACS to isolate them;
//   3. else it has a group of its own.
//
// What is behind a conventional PCI bridge makes requests in the bridge's name, and Linux looks for that first. It
// comes to the same as 1, because such a bridge never isolates.
//
// A function isolates if Source Validation, Request Redirect, Completion Redirect and Upstream Forwarding are on, as
// far as it has them: those of them that its ACS Capability lacks count as wired on. Root and downstream ports
// without ACS don't isolate; functions of a device that has but one need none; nothing conventional ever isolates.
//
// Linux also knows of devices that isolate without saying so, or that make requests in another's name
// (drivers/pci/quirks.c). Of that list only one rule is here, that which holds for all of Intel's root complex
// integrated endpoints; a real machine with others on it has more groups than this, or fewer. That a device has
// several functions is taken from their being there, as the header's bit is not among the facts: a device with the
// bit and a single function passes for one without.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "barter/topology.hpp"

namespace barter::topology {

// One for each of parts.functions, in their order. Known without a value where the IOMMU is off; unknown, with the
// reason, where the IOMMU's mode or a deciding fact is.
//
// Groups have numbers from 0 in order of their first function's BDF. So does Linux where it finds functions in that
// order: with one IOMMU, bus numbers given out depth first, and no virtual functions, which come when a driver asks
// for them. With several IOMMUs it goes through them one by one. From a function on whose group is unknown, so are
// the numbers of further groups.
[[nodiscard]] std::vector<Known<std::optional<std::uint32_t>>> linux_iommu_groups(const TopologyParts& parts);

}  // namespace barter::topology
