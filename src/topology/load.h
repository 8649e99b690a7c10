// From bytes to topologies: one loader for each format. All are pure: they are given the bytes (or, for sysfs, a folder)
// and return facts. Every error names the source and the line, offset or file in it.
#pragma once
#include <filesystem>
#include <string_view>

#include "barter/result.hpp"
#include "barter/topology.hpp"

namespace barter::topology {

// The text of `lspci -vvv` or `lspci -nnvvv`, with or without -D. Without numbers, names are looked up in pci.ids.
[[nodiscard]] Result<TopologyParts> load_lspci_text(std::string_view text, std::string_view source);
// The text of `lspci -x`, `-xxx` or `-xxxx`, read by libpci's own "dump" method.
[[nodiscard]] Result<TopologyParts> load_lspci_hex(const std::filesystem::path& file);
// Any lspci file: tells text from hex by looking.
[[nodiscard]] Result<TopologyParts> load_lspci(const std::filesystem::path& file);
// XML of `lstopo file.xml`, read by libhwloc.
[[nodiscard]] Result<TopologyParts> load_hwloc(const std::filesystem::path& file);
// A sysfs tree: "/sys" for this computer, or a captured copy under any folder.
[[nodiscard]] Result<TopologyParts> load_sysfs(const std::filesystem::path& root);

}  // namespace barter::topology
