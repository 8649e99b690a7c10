// Who drives a function of this computer: Linux's own driver, or user space through vfio-pci.
//
//   auto plan = barter::plan_binding(*barter::Bdf::parse("0000:03:00.0"), "vfio-pci");
//   if (!plan) return barter::print(plan.error());          // mounted, in use, in a group with others: the error says which
//   for (const barter::BindStep& step : plan->steps) fmt::print("{}\n", step.says);
//   if (auto done = barter::carry_out(*plan); !done) return barter::print(done.error());
//
// Planning reads and changes nothing. Carrying out looks again first, because a file system may have been mounted since; if a
// step fails, what was before is put back, and the error says so. It needs root.
//
// What can't be seen is not promised: a program that has a drive open without claiming it (dd, say) is not noticed.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <barter/address.hpp>
#include <barter/result.hpp>

namespace barter {

// One file of sysfs that gets one word.
struct BindStep {
  std::string file;
  std::string text;
  std::string says;  // what it is for, in a sentence
};

struct BindPlan {
  std::vector<Bdf> functions;   // that change hands, in order
  std::string driver;           // who gets them
  std::vector<BindStep> steps;  // none: it drives all of them already
  bool with_group = false;
};

struct BindOptions {
  // For vfio-pci: take the other functions of the same IOMMU group along. A group is given to user space as a whole.
  bool with_group = false;
};

// `driver` is a driver of the kernel, loaded: "vfio-pci", "nvme".
[[nodiscard]] Result<BindPlan> plan_binding(Bdf function, std::string_view driver, BindOptions options = {});
[[nodiscard]] Result<void> carry_out(const BindPlan& plan);

}  // namespace barter
