// Config space is whatever a device, a hypervisor or a file says. The first byte chooses where the known bytes end; from
// the second on, they are the config space. The last 24 bytes are also what the BARs read back when they are sized.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include "pci/bar.h"
#include "pci/bridge_window.h"
#include "pci/capability_walk.h"
#include "pci/config_space.h"
#include "pci/dump.h"
#include "topology/from_config.h"

using barter::pci::ConfigSpace;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void check_list(const barter::pci::CapabilityList& list, std::size_t first, std::size_t end) {
  require(list.entries.size() <= ConfigSpace::kExtendedBytes / 4);
  require(list.defect.has_value() == (list.end == barter::pci::CapabilityList::End::defective));
  for (const auto& entry : list.entries) require(entry.offset >= first && entry.offset < end && entry.offset % 4 == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ConfigSpace whole(std::span(data + 1, size - 1));
  const ConfigSpace config = whole.first(std::max<std::size_t>(std::size_t{data[0]} * 16, 64));
  check_list(barter::pci::walk_capabilities(config), 0x40, 0x100);
  check_list(barter::pci::walk_extended_capabilities(config), 0x100, 0x1000);
  (void)barter::pci::memory_window(config);
  (void)barter::pci::prefetchable_window(config);
  (void)barter::pci::io_window(config);
  (void)barter::pci::decode_bars(config);
  std::array<std::uint32_t, 6> sizing{};
  const std::size_t tail_bytes = std::min(size, sizeof sizing);
  std::memcpy(sizing.data(), data + (size - tail_bytes), tail_bytes);
  (void)barter::pci::decode_bars(config, sizing);
  const auto function = barter::topology::function_from_config({0, 1, 2, 3}, config, "fuzz");
  if (function) require(function->bars.size() <= 6);
  require(barter::topology::virtual_functions_of({0, 1, 2, 3}, config).size() <= 0x10000);
  const barter::pci::DumpedFunction dumped[] = {{{0, 1, 2, 3}, config.first(64)}};
  require(!barter::pci::dump(dumped).empty());
  return 0;
}
