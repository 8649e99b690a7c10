// barter bind BDF vfio-pci|nvme
#pragma once
#include <string>

#include "barter/binding.hpp"

namespace barter::cli {

// As typed; run_bind makes sense of it.
struct BindArguments {
  std::string function;
  std::string driver;
  bool dry_run = false;
  bool with_group = false;
};

// 0: done, or nothing was to do. 2: an error, printed; everything is as it was, or the error says what is not.
[[nodiscard]] int run_bind(const BindArguments& arguments);
[[nodiscard]] std::string bind_plan_text(const BindPlan& plan);

}  // namespace barter::cli
