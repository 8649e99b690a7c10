// Reads both sides of a copy back and compares them, byte for byte.
#pragma once
#include <cstdint>
#include <optional>

#include "barter/result.hpp"
#include "base/clock.h"
#include "transfer/pipeline.h"

namespace barter::transfer {

// The first byte of the copy that differs, or none. Goes through host memory, of course.
[[nodiscard]] Result<std::optional<std::uint64_t>> first_difference(const Job& job, base::Clock& clock);

}  // namespace barter::transfer
