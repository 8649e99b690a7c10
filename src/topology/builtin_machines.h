// The machines that come with the program: machines/*.toml, embedded when it is built (cmake/embed_machines.cmake).
#pragma once
#include <optional>
#include <span>
#include <string_view>

namespace barter::topology {

struct BuiltinMachine {
  std::string_view name;  // the file's, without its ending: "two-nvme"
  std::string_view toml;
};

// In order of name.
[[nodiscard]] std::span<const BuiltinMachine> builtin_machines();
[[nodiscard]] std::optional<BuiltinMachine> find_builtin_machine(std::string_view name);

}  // namespace barter::topology
