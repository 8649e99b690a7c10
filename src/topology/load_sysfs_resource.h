// The sysfs file `resource`: where a function's BARs lie and how large they are, as the kernel found out.
#pragma once
#include <filesystem>

#include "barter/result.hpp"
#include "barter/topology.hpp"

namespace barter::topology::sysfs {

// Takes BARs 0 to 5 from the file, and from the config space that `function` was made of the addresses on the bus: the
// file holds those that the CPU uses, which some machines shift. Without the file, BARs stay as config space has them.
[[nodiscard]] Result<void> take_resources(FunctionInfo& function, const std::filesystem::path& folder);

}  // namespace barter::topology::sysfs
