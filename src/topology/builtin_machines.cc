#include "topology/builtin_machines.h"

namespace barter::topology {

std::optional<BuiltinMachine> find_builtin_machine(std::string_view name) {
  for (const BuiltinMachine& machine : builtin_machines())
    if (machine.name == name) return machine;
  return std::nullopt;
}

}  // namespace barter::topology
