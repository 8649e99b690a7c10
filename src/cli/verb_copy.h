// barter copy SOURCE DESTINATION
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "barter/copy.hpp"

namespace barter::cli {

// As typed; run_copy makes sense of it.
struct CopyArguments {
  std::string source;
  std::string destination;
  std::string machine = "host";
  std::vector<std::string> attach;
  std::string policy = "preferred";
  std::optional<std::string> via;
  std::uint32_t queue_depth = CopyOptions{}.queue_depth;
  std::optional<std::string> chunk;  // none: as CopyOptions says
  std::uint64_t seed = 1;
  bool verify = false;
  bool threaded = false;
  bool json = false;
};

// 0: copied. 1: copied, and verification found a difference. 2: an error, printed.
[[nodiscard]] int run_copy(const CopyArguments& arguments);

// What run_copy prints.
[[nodiscard]] std::string copy_report_text(const CopyArguments& arguments, const CopyReport& report);
[[nodiscard]] std::string copy_report_json(const CopyReport& report);

}  // namespace barter::cli
