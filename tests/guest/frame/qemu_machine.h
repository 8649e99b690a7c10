// A machine description (docs/machine-format.md) as arguments of QEMU, so that a guest sees the same tree that the software
// machine would be built as. What QEMU has no device for is an error that says so; docs/guest.md lists it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "barter/result.hpp"
#include "topology/description.h"

namespace barter::guest {

// A file that backs a namespace. It is made, full of zeros, unless the description names one that is there.
struct DiskImage {
  std::string path;
  std::uint64_t size_bytes = 0;
};

struct QemuMachine {
  std::vector<std::string> arguments;  // of qemu-system-x86_64
  std::vector<std::string> kernel;     // words of the kernel's command line
  std::vector<DiskImage> images;
};

// `folder` is where images of namespaces without a file of their own go.
[[nodiscard]] Result<QemuMachine> qemu_machine(const topology::Description& machine, std::string_view folder);

}  // namespace barter::guest
