// The checks, each a question to the case. They add what they find; examine.cc has their order, which is that of
// importance among findings of one severity.
#pragma once
#include <vector>

#include "doctor/case.h"

namespace barter::doctor {

using Findings = std::vector<Finding>;

// check_system.cc: the kernel and the user
void check_kernel_release(const Case& the_case, Findings& findings);
void check_kernel_options(const Case& the_case, Findings& findings);
void check_privileges(const Case& the_case, Findings& findings);
void check_memlock(const Case& the_case, Findings& findings);
void check_vfio(const Case& the_case, Findings& findings);

// check_memory.cc: memory that peers could use
void check_providers(const Case& the_case, Findings& findings);
void check_controller_memory(const Case& the_case, Findings& findings);
void check_bars(const Case& the_case, Findings& findings);
void check_block_layers(const Case& the_case, Findings& findings);

// check_routes.cc: who reaches whom
void check_routes(const Case& the_case, Findings& findings);
void check_directions(const Case& the_case, Findings& findings);
void check_acs(const Case& the_case, Findings& findings);
void check_host_bridges(const Case& the_case, Findings& findings);
void check_mapping_bug(const Case& the_case, Findings& findings);

// check_machine.cc: around the devices
void check_iommu(const Case& the_case, Findings& findings);
void check_virtual_machine(const Case& the_case, Findings& findings);
void check_numa(const Case& the_case, Findings& findings);
void check_switches(const Case& the_case, Findings& findings);

// check_links.cc
void check_links(const Case& the_case, Findings& findings);
void check_payload(const Case& the_case, Findings& findings);

// not_known.cc: what the source doesn't tell, each reason once
void tell_what_is_not_known(const Case& the_case, Findings& findings);

}  // namespace barter::doctor
