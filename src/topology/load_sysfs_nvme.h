// What the kernel's nvme driver says in sysfs of a controller's memory buffer.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>

#include "barter/known.hpp"
#include "barter/result.hpp"
#include "barter/topology.hpp"

namespace barter::topology::sysfs {

// `folder` is the function's; nvme/nvmeN/cmb in it, or nvme/nvmeN/cmbloc and cmbsz, hold the two registers.
[[nodiscard]] Result<Known<std::optional<ControllerMemoryInfo>>> load_controller_memory(
    const std::filesystem::path& folder);

// The two registers decoded. No value: the controller has no such memory. Unknown: a size unit that is reserved.
[[nodiscard]] Known<std::optional<ControllerMemoryInfo>> decode_controller_memory(std::uint32_t location,
                                                                                  std::uint32_t size);

}  // namespace barter::topology::sysfs
