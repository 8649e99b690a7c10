// The text of a hex dump, checked, read by libpci, and made a topology of.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "topology/from_config.h"
#include "topology/load_lspci_hex_libpci.h"
#include "topology/load_lspci_hex_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  const auto checked = barter::topology::check_hex_text(text, "fuzz");
  if (!checked) return 0;
  const auto functions = barter::topology::read_dump_with_libpci(checked->for_libpci, "fuzz");
  // What passed the check must be what libpci finds: the same functions, with the same bytes known.
  if (!functions || functions->size() != checked->functions.size()) std::abort();
  for (const auto& function : *functions) {
    const auto found = checked->functions.find(function.bdf);
    if (found == checked->functions.end() || found->second.known_bytes != function.config.known_bytes()) std::abort();
    (void)barter::topology::describe_function(function.bdf, function.config);
  }
  return 0;
}
