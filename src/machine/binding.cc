// The public face of driver binding: this computer's own.
#include "barter/binding.hpp"

#include "linux/binding/driver_binding.h"

namespace barter {

Result<BindPlan> plan_binding(Bdf function, std::string_view driver, BindOptions options) {
  return linux_os::system_binding().plan(function, driver, options);
}

Result<void> carry_out(const BindPlan& plan) { return linux_os::system_binding().carry_out(plan); }

}  // namespace barter
