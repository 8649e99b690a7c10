// Any bytes at all as the XML of hwloc.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "barter/topology.hpp"
#include "topology/load_hwloc.h"

// libhwloc 2.9 forgets some of what it has read when it gives up on a file. That is its own fault, not what is looked
// for here.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the name that LeakSanitizer looks for
extern "C" const char* __lsan_default_suppressions() { return "leak:libhwloc.so\n"; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  auto parts = barter::topology::load_hwloc_text({reinterpret_cast<const char*>(bytes), count}, "fuzz");
  if (parts) static_cast<void>(barter::Topology::build(std::move(*parts)));
  return 0;
}
