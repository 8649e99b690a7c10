#include "linux/binding/driver_binding.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace barter::linux_os {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kForUserSpace = "vfio-pci";
constexpr std::size_t kMaxDriverCharacters = 63;

Error refusal(ErrorCode code, Bdf function, std::string_view driver, std::string why, std::string cure = {}) {
  return {.code = code,
          .doing = fmt::format("binding to {} the function", driver),
          .subject = function.to_string(),
          .why = std::move(why),
          .cure = std::move(cure)};
}

bool is_driver_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxDriverCharacters && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

}  // namespace

// What the kernel shows for no override is "(null)".
DriverBinding::Before DriverBinding::look_at(Bdf function) const {
  auto override_now = sysfs_.attribute(function, "driver_override").value_or("");
  if (override_now == "(null)") override_now.clear();
  return {function, sysfs_.driver(function).value_or(""), std::move(override_now)};
}

Result<void> DriverBinding::check(Bdf function, std::string_view driver) const {
  if (sysfs_.is_bridge(function))
    return fail(
        refusal(ErrorCode::refused, function, driver, "it is a bridge, and everything below it would lose its way"));
  if (driver == kForUserSpace && !sysfs_.iommu_group(function))
    return fail(
        refusal(ErrorCode::unsupported, function, driver,
                "no IOMMU translates for it, and user space must not drive it without one",
                "turn the IOMMU on: intel_iommu=on on the kernel's command line, VT-d or AMD-Vi in the firmware"));
  auto users = users_of_(function);
  if (!users) return fail(std::move(users.error()));
  if (users->empty()) return {};
  std::string text;
  for (const std::string& user : *users) text += (text.empty() ? "" : "; ") + user;
  return fail(refusal(ErrorCode::refused, function, driver, "it is in use: " + text,
                      "unmount it, swapoff, or end what uses it, and try again"));
}

// The functions that change hands: the one that was named, and with it, if that is wanted, the rest of its group.
Result<std::vector<Bdf>> DriverBinding::choose(Bdf function, std::string_view driver, BindOptions options) const {
  std::vector<Bdf> chosen{function};
  if (driver != kForUserSpace) return chosen;
  const auto obstacles = sysfs_.group_obstacles(function);
  if (obstacles.empty()) return chosen;
  if (!options.with_group)
    return fail(refusal(ErrorCode::refused, function, driver,
                        fmt::format("its IOMMU group {} also holds {}, and a group is given to user space as a whole",
                                    sysfs_.iommu_group(function).value_or(0), describe_functions(sysfs_, obstacles)),
                        "take them along with --with-group, or move one of the cards to another slot"));
  chosen.insert(chosen.end(), obstacles.begin(), obstacles.end());
  return chosen;
}

std::vector<BindStep> DriverBinding::steps_for(Bdf function, std::string_view driver) const {
  const Before before = look_at(function);
  const std::string name = function.to_string();
  std::vector<BindStep> steps;
  const fs::path override_file = sysfs_.folder(function) / "driver_override";
  if (driver == kForUserSpace)
    steps.push_back(
        {override_file.string(), std::string(driver), fmt::format("from now on only {} takes {}", driver, name)});
  else if (!before.driver_override.empty())
    steps.push_back({override_file.string(), "\n", fmt::format("{} is for whichever driver knows it", name)});
  if (!before.driver.empty())
    steps.push_back({(sysfs_.root() / "bus/pci/drivers" / before.driver / "unbind").string(), name,
                     fmt::format("{} lets go of {}", before.driver, name)});
  steps.push_back({(sysfs_.root() / "bus/pci/drivers_probe").string(), name, fmt::format("{} takes {}", driver, name)});
  return steps;
}

Result<BindPlan> DriverBinding::plan(Bdf function, std::string_view driver, BindOptions options) const {
  if (!is_driver_name(driver))
    return fail(refusal(ErrorCode::invalid_argument, function, driver, "that is no name of a driver",
                        "vfio-pci gives it to user space, nvme back to Linux"));
  if (!sysfs_.exists(function))
    return fail(
        refusal(ErrorCode::not_found, function, driver, "this computer has no such function", "lspci -D lists them"));
  if (sysfs_.is_bridge(function))
    return fail(
        refusal(ErrorCode::refused, function, driver, "it is a bridge, and everything below it would lose its way"));
  std::error_code error;
  if (!fs::exists(sysfs_.root() / "bus/pci/drivers" / driver, error))
    return fail(refusal(ErrorCode::not_found, function, driver, "the kernel has no such driver, or has not loaded it",
                        fmt::format("modprobe {}", driver)));
  BindPlan plan{.driver = std::string(driver), .with_group = options.with_group};
  auto chosen = choose(function, driver, options);
  if (!chosen) return fail(std::move(chosen.error()));
  for (const Bdf each : *chosen) {
    if (sysfs_.driver(each) == driver) continue;
    if (auto fine = check(each, driver); !fine) return fail(std::move(fine.error()));
    plan.functions.push_back(each);
    std::ranges::move(steps_for(each, driver), std::back_inserter(plan.steps));
  }
  return plan;
}

Result<void> DriverBinding::change(Bdf function, const std::string& driver) const {
  for (const BindStep& step : steps_for(function, driver))
    if (auto done = write_(step.file, step.text); !done) return done;
  const auto holder = sysfs_.driver(function);
  if (holder == driver) return {};
  return fail(refusal(ErrorCode::io_failed, function, driver,
                      fmt::format("the kernel gave it to {} instead", holder.value_or("no driver")),
                      "the kernel's log (dmesg) may say why"));
}

// As it was before, in the opposite order. Tries everything, whatever fails; the sentence says how it went.
std::string DriverBinding::put_back(const std::vector<Before>& before) const {
  std::string failed;
  for (auto each = before.rbegin(); each != before.rend(); ++each) {
    const std::string name = each->function.to_string();
    const Before now = look_at(each->function);
    bool ok = true;
    const auto write = [&](const fs::path& file, std::string_view text) { ok = write_(file, text).has_value() && ok; };
    if (now.driver_override != each->driver_override)
      write(sysfs_.folder(each->function) / "driver_override",
            each->driver_override.empty() ? "\n" : std::string_view(each->driver_override));
    if (now.driver != each->driver) {
      if (!now.driver.empty()) write(sysfs_.root() / "bus/pci/drivers" / now.driver / "unbind", name);
      if (!each->driver.empty()) write(sysfs_.root() / "bus/pci/drivers" / each->driver / "bind", name);
    }
    if (!ok || sysfs_.driver(each->function).value_or("") != each->driver)
      failed += (failed.empty() ? "" : ", ") + name;
  }
  return failed.empty() ? "everything is as it was before" : "and what was before could not be put back for " + failed;
}

Result<void> DriverBinding::carry_out(const BindPlan& plan) const {
  if (plan.functions.empty()) return {};
  // Things may have changed since it was made.
  auto fresh = this->plan(plan.functions.front(), plan.driver, {.with_group = plan.with_group});
  if (!fresh) return fail(std::move(fresh.error()));
  if (fresh->functions != plan.functions)
    return fail(refusal(ErrorCode::cancelled, plan.functions.front(), plan.driver,
                        "the computer has changed since this was planned", "plan it again"));
  std::vector<Before> before;
  for (const Bdf function : plan.functions) {
    before.push_back(look_at(function));
    auto done = change(function, plan.driver);
    if (done) continue;
    done.error().why += "; " + put_back(before);
    return done;
  }
  return {};
}

}  // namespace barter::linux_os
