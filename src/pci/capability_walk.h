// The two lists of capabilities in a config space: which are there, where, and whether the list could be read to its end.
//
// Each list is a chain of pointers that came from outside, so it can loop, leave its space or run past what is known.
// Walking always ends: no place is visited twice. What was found before the fault is kept beside it.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "pci/config_space.h"
#include "pci/defect.h"

namespace barter::pci {

struct CapabilityEntry {
  std::uint16_t id = 0;
  std::uint16_t offset = 0;
  std::uint8_t version = 0;  // of an extended capability; 0 for the others
  friend bool operator==(const CapabilityEntry&, const CapabilityEntry&) = default;
};

struct CapabilityList {
  enum class End : std::uint8_t {
    complete,   // the last capability was seen
    not_known,  // the list goes on where no bytes are known: what was not found may yet be there
    defective,  // the list is broken: `defect` says where and how
  };
  std::vector<CapabilityEntry> entries;
  End end = End::complete;
  std::uint16_t end_offset = 0;  // with not_known: where the list goes on
  std::optional<Defect> defect;  // with defective

  [[nodiscard]] const CapabilityEntry* find(std::uint16_t id) const;
};

// The list that starts at the Capabilities Pointer (PCIe 6.0, 7.5.1.1.11), from 0x40 to 0xff.
[[nodiscard]] CapabilityList walk_capabilities(const ConfigSpace& config);

// The list that starts at 0x100 (PCIe 6.0, 7.6.3). Only Express functions have that space, and some of the conventional
// PCI-X ones; of the others it must not be asked.
[[nodiscard]] CapabilityList walk_extended_capabilities(const ConfigSpace& config);

}  // namespace barter::pci
