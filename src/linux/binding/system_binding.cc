// Driver binding on the running system: who uses a drive, and how sysfs is written.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "linux/binding/driver_binding.h"
#include "linux/binding/system_users.h"
#include "linux/descriptor.h"
#include "linux/system_error.h"

namespace barter::linux_os {
namespace {

namespace fs = std::filesystem;

Result<void> write_file(const fs::path& file, std::string_view text) {
  const Descriptor opened(open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!opened.is_open()) return fail(system_error(errno, "opening", file.string()));
  // One write: sysfs takes each as a whole.
  if (write(opened.number(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) return {};
  const int failed_with = errno;
  Error failed = system_error(failed_with, fmt::format("writing '{}' to", text == "\n" ? "" : text), file.string());
  return fail(std::move(failed));
}

}  // namespace

DriverBinding system_binding() {
  PciSysfs sysfs;
  return {sysfs, [sysfs](Bdf function) { return system_users_of(sysfs, function); }, write_file};
}

}  // namespace barter::linux_os
