// Checksums of device memory, computed by the accelerator that holds it: no byte of it leaves the device.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "workloads/pairs.h"

namespace barter::workloads {

// XXH64, seed 0, of each range of the pair's region.
[[nodiscard]] Result<std::vector<std::uint64_t>> device_sums(const Pair& pair, std::span<const MemoryRange> ranges);

// Makes all of the pair's region read as zeros, by the accelerator's own engine.
[[nodiscard]] Result<void> clear_memory(const Pair& pair);

}  // namespace barter::workloads
