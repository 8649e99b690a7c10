// What a path names, and on which block device its bytes lie.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "barter/result.hpp"
#include "linux/sysfs/block_device.h"

namespace barter::linux_os {

// Where sysfs, procfs and the like are; tests point them to trees of their own.
struct SystemRoots {
  std::filesystem::path sys = "/sys";
  std::filesystem::path proc = "/proc";
  std::filesystem::path dev = "/dev";
};

enum class PathKind : std::uint8_t { missing, file, block_device };

struct FilePlace {
  std::filesystem::path path;
  PathKind kind = PathKind::missing;  // missing: a file may be made there, and the rest tells of its folder
  std::optional<Error> not_there;     // what the kernel says of a missing one
  DeviceNumber file_system;           // with `inode`, what the file is, whatever its name
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;
  std::string file_system_name;  // "ext4"; empty for a block device
  std::filesystem::path mounted_at;
  std::optional<BlockDevice> device;  // none: a file system without one of its own, such as tmpfs or btrfs
  // For O_DIRECT, as the kernel states them (statx, Linux 6.1): none, it is not stated; zero, O_DIRECT is not possible.
  std::optional<std::uint32_t> direct_offset_bytes;
  std::optional<std::uint32_t> direct_memory_bytes;
  // Why no memory of a peer can be handed to it, and what would help; empty if it can, as far as can be told.
  std::string why_not_direct;
  std::string cure;
};

// Errors: not_found (the folder is missing too), refused, invalid_argument (a folder, a socket, ...).
[[nodiscard]] Result<FilePlace> find_place(const SystemRoots& roots, const std::filesystem::path& path);

}  // namespace barter::linux_os
