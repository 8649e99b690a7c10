// A block device as sysfs tells of it (Documentation/ABI/stable/sysfs-block), and what stands between it and a PCI function.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "barter/address.hpp"
#include "barter/result.hpp"

namespace barter::linux_os {

struct DeviceNumber {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  friend constexpr auto operator<=>(DeviceNumber, DeviceNumber) = default;
  [[nodiscard]] std::string to_string() const;                               // "259:1"
  [[nodiscard]] static std::optional<DeviceNumber> parse(std::string_view);  // the same
};

struct BlockDevice {
  std::string name;  // "nvme0n1p2"
  DeviceNumber number;
  std::string disk;               // the whole of which it is a part: "nvme0n1"; its own name if it is no partition
  std::uint64_t start_bytes = 0;  // within the disk
  std::uint64_t size_bytes = 0;
  std::uint32_t block_bytes = 0;        // logical: what an offset must be a multiple of
  std::uint64_t max_request_bytes = 0;  // what one command of the disk takes (max_sectors_kb)
  bool is_read_only = false;
  std::vector<std::string> holders;  // block devices that are built on it, such as "dm-0"
  // The function whose DMA moves its bytes; none for what is built on other block devices.
  std::optional<Bdf> function;
  std::string controller;  // of an NVMe drive: "nvme0"
  // Why no memory of a peer can be handed to it; empty if it can, as far as sysfs tells.
  std::string why_not_direct;
  std::string cure;  // of that, if there is one

  [[nodiscard]] bool is_partition() const { return name != disk; }
};

// `sys` is /sys, or a captured tree.
[[nodiscard]] Result<BlockDevice> read_block_device(const std::filesystem::path& sys, std::string_view name);
// The name of the block device with this number; not_found if there is none.
[[nodiscard]] Result<std::string> block_device_name(const std::filesystem::path& sys, DeviceNumber number);
// The disks and partitions of all NVMe controllers, in order: "nvme0n1", "nvme0n1p1", "nvme0n2", ... Not the hidden paths
// below a multipath device.
[[nodiscard]] Result<std::vector<std::string>> nvme_block_devices(const std::filesystem::path& sys);

}  // namespace barter::linux_os
