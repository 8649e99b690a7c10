// barter why CLIENT PROVIDER, barter why --all
#pragma once
#include <optional>
#include <string>

namespace barter::cli {

// As typed; run_why makes sense of it.
struct WhyArguments {
  std::optional<std::string> client;  // a name or an address
  std::optional<std::string> provider;
  bool all = false;  // every pair of endpoints, in place of client and provider
  std::string machine = "host";
  std::optional<std::string> cpu;  // VENDOR:FAMILY
  bool json = false;
};

// 0: answered, whatever the answer. 2: an error, printed.
[[nodiscard]] int run_why(const WhyArguments& arguments);

}  // namespace barter::cli
