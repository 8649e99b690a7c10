// Gives PCI functions to another driver, by driver_override, unbind and drivers_probe of sysfs (the kernel's
// Documentation/ABI/testing/sysfs-bus-pci). include/barter/binding.hpp has the promises.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "barter/binding.hpp"
#include "barter/result.hpp"
#include "linux/binding/pci_sysfs.h"

namespace barter::linux_os {

class DriverBinding {
 public:
  using WriteFile = std::function<Result<void>(const std::filesystem::path& file, std::string_view text)>;
  // Who uses a function, in words: "nvme0n1 is mounted at /mnt/a".
  using UsersOf = std::function<Result<std::vector<std::string>>(Bdf function)>;

  // A test gives a tree of its own, and plays the kernel in `write`.
  DriverBinding(PciSysfs sysfs, UsersOf users_of, WriteFile write)
      : sysfs_(std::move(sysfs)), users_of_(std::move(users_of)), write_(std::move(write)) {}

  [[nodiscard]] Result<BindPlan> plan(Bdf function, std::string_view driver, BindOptions options) const;
  [[nodiscard]] Result<void> carry_out(const BindPlan& plan) const;

 private:
  struct Before {
    Bdf function;
    std::string driver;           // empty: none
    std::string driver_override;  // empty: none
  };
  [[nodiscard]] Result<std::vector<Bdf>> choose(Bdf function, std::string_view driver, BindOptions options) const;
  [[nodiscard]] Result<void> check(Bdf function, std::string_view driver) const;
  [[nodiscard]] Before look_at(Bdf function) const;
  [[nodiscard]] std::vector<BindStep> steps_for(Bdf function, std::string_view driver) const;
  [[nodiscard]] Result<void> change(Bdf function, const std::string& driver) const;
  [[nodiscard]] std::string put_back(const std::vector<Before>& before) const;

  PciSysfs sysfs_;
  UsersOf users_of_;
  WriteFile write_;
};

// Of the running system.
[[nodiscard]] DriverBinding system_binding();

}  // namespace barter::linux_os
