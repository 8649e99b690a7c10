// Where an errno becomes an Error: here and nowhere else.
#pragma once
#include <string>

#include "barter/result.hpp"

namespace barter::linux_os {

// What the number says on its own. A caller that knows more (which limit, which interface is missing) writes its own `why`
// and `cure` over it.
[[nodiscard]] ErrorCode code_of(int error_number);
[[nodiscard]] Error system_error(int error_number, std::string doing, std::string subject);

}  // namespace barter::linux_os
