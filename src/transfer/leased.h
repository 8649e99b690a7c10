// Memory of several mappings as one list, for whoever transfers to or from it.
#pragma once
#include <expected>
#include <span>
#include <string>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "peer/segments.h"

namespace barter::transfer {

// All segments in order, neighbours joined: never none. Or what is wrong with the leases, in words: one is empty, of another importer,
// or for the other access. They must outlive the list.
[[nodiscard]] std::expected<peer::SegmentList, std::string> gather(std::span<const Lease> leases, Bdf importer,
                                                                   Access needed);

}  // namespace barter::transfer
