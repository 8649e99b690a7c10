// Text from files, devices and kernels on its way to a person: it may hold anything, and a terminal would obey some of it.
#pragma once
#include <string>
#include <string_view>

namespace barter::base {

// The same text in UTF-8, with '?' for each control character (C0, DEL, C1), each character that turns the direction of writing,
// and each byte that is no UTF-8.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace barter::base
