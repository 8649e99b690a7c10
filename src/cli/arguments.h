// What people type: sizes, and parts of drives.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "barter/machine.hpp"
#include "barter/result.hpp"
#include "barter/topology.hpp"

namespace barter::cli {

// "4096", "64K", "64KiB", "1.5MiB", "0x1000". K, M, G and T are powers of 1024, with or without iB; kB, MB, GB and TB are
// powers of 1000, as fio and dd read them. The result is a whole number of bytes.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);

// DRIVE[@OFFSET][+LENGTH], such as nvme0@1MiB+256MiB.
struct DrivePart {
  std::string drive;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
};
[[nodiscard]] Result<DrivePart> parse_drive_part(std::string_view text);

// DRIVE=FILE.
[[nodiscard]] Result<Attachment> parse_attachment(std::string_view text);

// VENDOR:FAMILY, such as AuthenticAMD:23 or amd:0x19. "amd" and "intel" stand for the names that CPUID gives.
[[nodiscard]] Result<CpuInfo> parse_cpu(std::string_view text);

// "64 MiB", "1.5 GiB", "512 B": for tables. Exact when it can be, one decimal otherwise.
[[nodiscard]] std::string format_size(std::uint64_t bytes);

}  // namespace barter::cli
