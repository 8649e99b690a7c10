#include "cli/verb_bind.h"

#include <cstdio>

#include <fmt/format.h>

#include "cli/render.h"

namespace barter::cli {

std::string bind_plan_text(const BindPlan& plan) {
  std::string text;
  for (const BindStep& step : plan.steps) {
    const std::string_view what = step.text == "\n" ? "(an empty line)" : std::string_view(step.text);
    text += fmt::format("  {}\n    {} > {}\n", printable(step.says), printable(what), printable(step.file));
  }
  return text;
}

int run_bind(const BindArguments& arguments) {
  const auto function = Bdf::parse(arguments.function);
  if (!function) return print(function.error());
  const auto plan = plan_binding(*function, arguments.driver, {.with_group = arguments.with_group});
  if (!plan) return print(plan.error());
  if (plan->steps.empty()) {
    fmt::print("{} drives {} already\n", arguments.driver, function->to_string());
    return 0;
  }
  fmt::print("{}:\n{}", arguments.dry_run ? "this would happen" : "this happens", bind_plan_text(*plan));
  (void)std::fflush(stdout);
  if (arguments.dry_run) return 0;
  if (const auto done = carry_out(*plan); !done) return print(done.error());
  for (const Bdf each : plan->functions) fmt::print("{} drives {}\n", plan->driver, each.to_string());
  return 0;
}

}  // namespace barter::cli
