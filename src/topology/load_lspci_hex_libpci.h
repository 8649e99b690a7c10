// libpci's reader of dumps, behind an interface that neither exits the process nor lets a jump out.
#pragma once
#include <string_view>
#include <vector>

#include "barter/result.hpp"
#include "pci/dump.h"

namespace barter::topology {

// The functions in a dump that check_hex_text has passed, in the order in which they lie there. Thread-safe.
[[nodiscard]] Result<std::vector<pci::DumpedFunction>> read_dump_with_libpci(std::string_view checked_text,
                                                                             std::string_view source);

}  // namespace barter::topology
