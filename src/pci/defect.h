// What is wrong with the bytes of a config space, and where. Whoever knows whose bytes they are makes an Error of it.
#pragma once
#include <cstdint>
#include <string>

namespace barter::pci {

struct Defect {
  std::uint16_t offset = 0;  // in config space
  std::string why;
  friend bool operator==(const Defect&, const Defect&) = default;
};

}  // namespace barter::pci
