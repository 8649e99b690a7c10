// The text of a hex dump, checked before libpci sees it.
//
// libpci's reader of dumps is lenient where a mistake should be told (a hole becomes bytes of ff, an unknown line belongs
// to nobody), and with an offset such as ffffffff: it writes outside its buffer. So every line is checked here, and
// libpci is given only what passed.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "barter/address.hpp"
#include "barter/result.hpp"

namespace barter::topology {

inline constexpr std::size_t kMaxDumpBytes = std::size_t{256} << 20;
inline constexpr std::size_t kMaxDumpFunctions = 65536;

struct HexText {
  // Header and hex lines only, in a form that libpci takes.
  std::string for_libpci;
  // The line of the header of each function, from 1, and the lines of its bytes, 16 to a line.
  struct Lines {
    std::size_t header = 0;
    std::vector<std::size_t> bytes;
    std::size_t known_bytes = 0;
  };
  std::unordered_map<Bdf, Lines> functions;

  // The line that holds this byte of the function's config space, or its header's.
  [[nodiscard]] std::size_t line_of(Bdf function, std::size_t offset) const;
};

// Lines are those of lspci -x, -xxx or -xxxx, also with -v, -n, -D or -k: a header "[DDDD:]BB:DD.F TEXT", lines
// "OFFSET: XX XX ..." in order, without holes and as many as lspci prints, empty ones, ones that start with a blank, which
// are for people, and what other programs wrote to the same terminal.
[[nodiscard]] Result<HexText> check_hex_text(std::string_view text, std::string_view source);

}  // namespace barter::topology
