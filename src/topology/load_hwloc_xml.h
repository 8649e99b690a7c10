// hwloc's XML, made safe for libhwloc.
//
// libhwloc trusts its files: a set of processors that is missing or not part of its parent's ends in a crash of the
// whole program. So the text is read here first, strictly, and what libhwloc gets is written anew: the Machine, its
// packages, groups, processors and NUMA nodes with checked sets, and all that is I/O with checked numbers. Caches,
// cores, distances and the like say nothing about PCI and are left out; what is below them moves up. Version 3, which
// libhwloc 2 refuses for its number, is written as version 2.
#pragma once
#include <string>
#include <string_view>

#include "barter/result.hpp"

namespace barter::topology {

[[nodiscard]] Result<std::string> clean_hwloc_xml(std::string_view xml, std::string_view source);

}  // namespace barter::topology
