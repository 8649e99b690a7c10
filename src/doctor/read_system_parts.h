// The parts of read_system: each reads what one corner of a system's files tells.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "barter/known.hpp"
#include "barter/result.hpp"
#include "barter/system.hpp"

namespace barter::doctor {

inline constexpr std::size_t kMaxStatusBytes = std::size_t{16} << 10;  // of proc/self/status and proc/self/limits
inline constexpr std::size_t kMaxNumaNodes = 1024;

// Drivers, shared memory and block devices of every function below root/sys.
[[nodiscard]] Result<std::vector<FunctionUse>> read_function_use(const std::filesystem::path& root);
// From root/sys/devices/system/node.
[[nodiscard]] Result<Known<std::vector<NumaDistance>>> read_numa_distances(const std::filesystem::path& root);
// Capabilities and limits from root/proc/self, into the three facts about the user.
[[nodiscard]] Result<void> read_user(const std::filesystem::path& root, SystemFacts& facts);

// The value of "KEY:<blanks>VALUE" at the start of a line; empty if there is none.
[[nodiscard]] std::string_view value_after(std::string_view text, std::string_view key);

}  // namespace barter::doctor
