// Which drive goes with which accelerator, the accelerator's memory that it gets, and by which way the bytes go.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "barter/machine.hpp"
#include "barter/memory.hpp"
#include "barter/policy.hpp"
#include "barter/result.hpp"
#include "machine/state.h"

namespace barter::workloads {

struct Pair {
  machine::DriveUnit* drive = nullptr;
  machine::DriveUnit* accelerator = nullptr;
  std::optional<Region> region;    // of the accelerator's memory, once it was asked for
  std::optional<Mapping> mapping;  // of the region, for the drive to read and write; none: by way of host memory
  std::string why_host;            // then; empty if the policy wishes it so
};

// Each drive with the accelerator that it reaches best, and each accelerator once. ErrorCode::unsupported where the machine lacks
// either; under P2p::required, ErrorCode::no_route with what keeps the two apart and what would change it.
[[nodiscard]] Result<std::vector<Pair>> make_pairs(const Machine& machine, P2p policy);

// Memory for a pair, mapped if it may go direct.
[[nodiscard]] Result<void> give_memory(const Machine& machine, Pair& pair, std::uint64_t bytes, P2p policy);

}  // namespace barter::workloads
