// Any text at all as the description of a machine. What is accepted keeps its promises: everything is plugged into
// something.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "topology/description.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  const auto machine =
      barter::topology::parse_description({reinterpret_cast<const char*>(bytes), count}, "fuzz/fuzz.toml");
  if (!machine) {
    if (machine.error().why.empty()) std::abort();
    return 0;
  }
  std::set<std::string> places;
  for (const auto& root : machine->root_complexes) places.insert(root.name);
  for (const auto& port : machine->root_ports) {
    if (!places.contains(port.root_complex)) std::abort();
    places.insert(port.port.name);
  }
  for (const auto& part : machine->switches)
    for (const auto& port : part.downstream)
      if (!places.insert(port.name).second) std::abort();
  for (const auto& function : machine->functions)
    if (!places.contains(function.below)) std::abort();
  return 0;
}
