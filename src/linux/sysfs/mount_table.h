// What is mounted where: /proc/PID/mountinfo (proc(5)), and swap: /proc/swaps.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "barter/result.hpp"
#include "linux/sysfs/block_device.h"

namespace barter::linux_os {

struct Mount {
  DeviceNumber number;      // of the file system; major 0 where it has no block device of its own
  std::string place;        // "/mnt/a"
  std::string file_system;  // "ext4"
  std::string source;       // "/dev/nvme0n1"
};

// Lines that are not what proc(5) describes are left out: newer kernels may add some.
[[nodiscard]] std::vector<Mount> parse_mounts(std::string_view text);
// `proc` is /proc. None if it can't be read, as in a container without it.
[[nodiscard]] Result<std::vector<Mount>> read_mounts(const std::filesystem::path& proc);

// Who uses a block device or a part of it, in words: "mounted at /mnt/a", "nvme0n1p2 is held by dm-0", "swap". Empty: nobody,
// as far as can be seen from here; the kernel's own answer is O_EXCL.
[[nodiscard]] Result<std::vector<std::string>> users_of(const std::filesystem::path& sys,
                                                        const std::filesystem::path& proc, const BlockDevice& device);

}  // namespace barter::linux_os
