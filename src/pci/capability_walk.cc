#include "pci/capability_walk.h"

#include <algorithm>
#include <bitset>

#include <fmt/format.h>

#include "pci/capabilities/capability_header.h"
#include "pci/config_header.h"

namespace barter::pci {
namespace {

// Capabilities start on dwords, so this many places are enough for both lists.
using Visited = std::bitset<ConfigSpace::kExtendedBytes / 4>;

CapabilityList& give_up(CapabilityList& list, std::uint16_t offset, std::string why) {
  list.end = CapabilityList::End::defective;
  list.defect = Defect{offset, std::move(why)};
  return list;
}

CapabilityList& stop_at(CapabilityList& list, std::uint16_t offset) {
  list.end = CapabilityList::End::not_known;
  list.end_offset = offset;
  return list;
}

}  // namespace

const CapabilityEntry* CapabilityList::find(std::uint16_t id) const {
  const auto found = std::find_if(entries.begin(), entries.end(), [id](const auto& entry) { return entry.id == id; });
  return found == entries.end() ? nullptr : &*found;
}

CapabilityList walk_capabilities(const ConfigSpace& config) {
  CapabilityList list;
  const auto status = config.load<Status>();
  const auto first = config.load<CapabilitiesPointer>();
  if (!status || !first) return stop_at(list, CapabilitiesPointer::kOffset);
  if (!status->get(Status::capabilities_list)) return list;

  Visited visited;
  std::uint16_t pointer_at = CapabilitiesPointer::kOffset;
  // The bottom two bits of every pointer are reserved and masked (PCI 3.0, 6.7).
  std::uint16_t at = first->raw & 0xfcu;
  while (at != 0) {
    if (at < ConfigSpace::kHeaderBytes)
      return give_up(list, pointer_at, fmt::format("the capability list goes on at 0x{:02x}, inside the header", at));
    if (visited[at / 4])
      return give_up(list, pointer_at, fmt::format("the capability list loops back to 0x{:02x}", at));
    visited.set(at / 4);
    const auto header = config.load<CapabilityHeader>(at);
    if (!header) return stop_at(list, at);
    const std::uint16_t id = header->get(CapabilityHeader::id);
    if (id == capability_id::kNotThere)
      return give_up(list, at, "the capability list leads to a capability that reads as all ones");
    list.entries.push_back({.id = id, .offset = at});
    pointer_at = static_cast<std::uint16_t>(at + 1);
    at = header->get(CapabilityHeader::next) & 0xfcu;
  }
  return list;
}

CapabilityList walk_extended_capabilities(const ConfigSpace& config) {
  CapabilityList list;
  Visited visited;
  std::uint16_t pointer_at = ExtendedCapabilityHeader::kFirstOffset;
  std::uint16_t at = ExtendedCapabilityHeader::kFirstOffset;
  while (at != 0) {
    if (at < ExtendedCapabilityHeader::kFirstOffset)
      return give_up(list, pointer_at,
                     fmt::format("the extended capability list goes on at 0x{:03x}, below 0x100", at));
    if (visited[at / 4])
      return give_up(list, pointer_at, fmt::format("the extended capability list loops back to 0x{:03x}", at));
    visited.set(at / 4);
    const auto header = config.load<ExtendedCapabilityHeader>(at);
    if (!header) return stop_at(list, at);
    // A function without extended capabilities has zeros at 0x100 (7.6.2). All ones there are what a host bridge answers
    // that can't reach the extended space: it tells nothing of the function.
    const bool is_first = at == ExtendedCapabilityHeader::kFirstOffset;
    if (is_first && header->raw == 0) return list;
    if (is_first && header->raw == 0xffffffff) return stop_at(list, at);
    const auto id = static_cast<std::uint16_t>(header->get(ExtendedCapabilityHeader::id));
    if (id == 0xffff)
      return give_up(list, at, "the extended capability list leads to a capability that reads as all ones");
    const auto version = static_cast<std::uint8_t>(header->get(ExtendedCapabilityHeader::version));
    if (id != extended_capability_id::kNull || version != 0) list.entries.push_back({id, at, version});
    pointer_at = at;
    at = static_cast<std::uint16_t>(header->get(ExtendedCapabilityHeader::next) & 0xffcu);
  }
  return list;
}

}  // namespace barter::pci
