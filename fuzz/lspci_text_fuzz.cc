// Any text at all as the output of lspci: parts or an error, and parts that a topology can be built from or an error
// again.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "barter/topology.hpp"
#include "topology/load_lspci_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  static const barter::topology::PciIds kNames(
      "8086  Intel Corporation\n\t2f02  Haswell-E PCI Express Root Port 1\n\t1521  I350 Gigabit Network Connection\n"
      "144d  Samsung Electronics Co Ltd\n\ta808  NVMe SSD Controller SM981/PM981/PM983\n"
      "C 01  Mass storage controller\n\t08  Non-Volatile memory controller\n"
      "C 06  Bridge\n\t00  Host bridge\n\t04  PCI bridge\n");
  const std::string_view text(reinterpret_cast<const char*>(bytes), count);
  static_cast<void>(barter::topology::kind_of_lspci(text));
  auto parts = barter::topology::load_lspci_text(text, "fuzz", kNames);
  if (parts) static_cast<void>(barter::Topology::build(std::move(*parts)));
  return 0;
}
