// barter topo
#pragma once
#include <optional>
#include <string>

namespace barter::cli {

// As typed; run_topo makes sense of it.
struct TopoArguments {
  std::string machine = "host";
  std::optional<std::string> cpu;  // VENDOR:FAMILY
  bool json = false;
};

// 0: shown. 2: an error, printed.
[[nodiscard]] int run_topo(const TopoArguments& arguments);

}  // namespace barter::cli
