// The options of a kernel's configuration that device memory depends on.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "barter/result.hpp"
#include "barter/system.hpp"

namespace barter::doctor {

inline constexpr std::size_t kMaxConfigBytes = std::size_t{4} << 20;         // of a configuration, unpacked
inline constexpr std::size_t kMaxModuleListBytes = std::size_t{4} << 20;     // of modules.builtin or modules.dep
inline constexpr std::size_t kMaxKernelSymbolBytes = std::size_t{64} << 20;  // of kallsyms

// From proc/config.gz, else boot/config-RELEASE or lib/modules/RELEASE/config; else what the kernel's symbols and lists of
// modules prove. `release` is a plain file name, or nothing where it isn't known.
[[nodiscard]] Result<std::vector<KernelOption>> read_kernel_options(const std::filesystem::path& root,
                                                                    const std::optional<std::string>& release);

// The state of one option in the text of a configuration: what is not mentioned is off.
[[nodiscard]] OptionState option_in(std::string_view config, std::string_view name);

// Unpacks gzip, bounded; an error says what is wrong with it.
[[nodiscard]] Result<std::string> unpack(std::string_view packed, std::string_view name);

}  // namespace barter::doctor
