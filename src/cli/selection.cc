#include "cli/selection.h"

namespace barter::cli {
namespace {

// Classes that only join buses (PCI Code and ID Assignment, 1.7). A "bridge of another kind" (0680) is left in: that
// is what non-transparent bridges and NVSwitches call themselves, and those are endpoints.
bool is_class_of_bridge(std::uint32_t class_code) {
  constexpr std::uint32_t kBridge = 0x06;
  constexpr std::uint32_t kOther = 0x80;
  return class_code >> 16 == kBridge && (class_code >> 8 & 0xff) != kOther;
}

}  // namespace

bool is_endpoint(const FunctionInfo& function) {
  if (function.is_bridge()) return false;
  if (function.class_code && is_class_of_bridge(*function.class_code)) return false;
  if (!function.port_type) return true;
  switch (*function.port_type) {
    case PortType::endpoint:
    case PortType::legacy_endpoint:
    case PortType::root_complex_endpoint:
    case PortType::conventional:
      return true;
    default:
      return false;
  }
}

bool may_be_provider(const FunctionInfo& function) { return function.has_memory_bar() || !function.bars_read; }

bool may_be_client(const FunctionInfo& function) {
  return !function.bars.empty() || !function.bars_read || function.physical_function.has_value();
}

std::vector<const FunctionInfo*> endpoints(const Topology& topology) {
  std::vector<const FunctionInfo*> found;
  for (const FunctionInfo& function : topology.functions())
    if (is_endpoint(function)) found.push_back(&function);
  return found;
}

}  // namespace barter::cli
