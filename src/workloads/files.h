// The files of a workload: many small ones, textures, and a few large ones of weights, as a training run or a game has them. The same
// seed makes the same names, sizes and bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace barter::workloads {

inline constexpr std::size_t kMaxFiles = 4096;

struct File {
  std::string name;
  std::uint64_t bytes = 0;
  std::uint64_t seed = 0;        // of its contents
  std::size_t pair = 0;          // which drive and which accelerator
  std::uint64_t offset = 0;      // within what the pair holds, on the drive as in memory: a multiple of kFileAlignment
  std::uint64_t span_bytes = 0;  // whole blocks
};
inline constexpr std::uint64_t kFileAlignment = 4096;

// Files of `bytes` in all, dealt out so that each pair gets about as much.
[[nodiscard]] std::vector<File> make_files(std::uint64_t bytes, std::size_t pairs, std::uint64_t seed);

// How much a pair holds.
[[nodiscard]] std::uint64_t bytes_of_pair(std::span<const File> files, std::size_t pair);

// The bytes of a file from `offset` on, a multiple of 8.
void fill_contents(const File& file, std::uint64_t offset, std::span<std::byte> into);

}  // namespace barter::workloads
