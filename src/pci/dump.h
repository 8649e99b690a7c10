// Config spaces as the text that `lspci -xxxx` prints and `lspci -F FILE` reads back.
//
//   0000:01:00.0 Class 0108: 1b36:0010
//   00: 36 1b 10 00 06 04 10 00 02 02 08 01 00 00 00 00
//   ...
//
// One header line for each function, then its known bytes, 16 to a line; a last line that is not full has fewer. An empty
// line ends each function.
#pragma once
#include <span>
#include <string>

#include "barter/address.hpp"
#include "pci/config_space.h"

namespace barter::pci {

struct DumpedFunction {
  Bdf bdf;
  ConfigSpace config;
};

[[nodiscard]] std::string dump(std::span<const DumpedFunction> functions);

}  // namespace barter::pci
