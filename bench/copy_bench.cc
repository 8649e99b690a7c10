// A whole copy by the peer route on the software machine: driver, model and fabric of both drives on one core. The peer is
// two plain memcpy passes of the same bytes, chunk by chunk as the copy does it: drive to buffer, buffer to drive.
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "barter/barter.hpp"
#include "base/random.h"
#include "bench.h"

namespace {

using namespace barter;
using namespace barter::bench;
using namespace barter::literals;
namespace fs = std::filesystem;

constexpr std::uint64_t kBytes = 256_MiB;  // more than any cache holds
constexpr std::uint64_t kChunk = 1_MiB;
constexpr std::uint32_t kDepth = 4;

// two-nvme, with a third drive that brings random bytes: pages that were never written would all be one page of zeros, which
// the cache holds.
constexpr const char* kMachine = R"(
name = "copy-bench"
[[root_complex]]
name = "rc0"
[[root_port]]
name = "rp0"
below = "rc0"
[[switch]]
name = "sw0"
below = "rp0"
ports = 3
[[drive]]
name = "nvme0"
below = "sw0.0"
size = "256 MiB"
cmb = "64 MiB"
[[drive]]
name = "nvme1"
below = "sw0.1"
size = "256 MiB"
[[drive]]
name = "filler"
below = "sw0.2"
size = "256 MiB"
)";

template <class T>
T need(Result<T> result) {
  if (!result) throw Broken(result.error().message());
  return std::move(*result);
}

// Files that go when this goes.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("barter-bench-" + std::to_string(::getpid()))) {
    fs::create_directories(path_);
    std::ofstream(machine(), std::ios::binary) << kMachine;
    std::ofstream noise(random(), std::ios::binary);
    base::Random chance(1);
    std::vector<std::uint64_t> words(kChunk / sizeof(std::uint64_t));
    for (std::uint64_t done = 0; done < kBytes; done += kChunk) {
      for (std::uint64_t& word : words) word = chance.next();
      noise.write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(kChunk));
    }
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] fs::path machine() const { return path_ / "copy-bench.toml"; }
  [[nodiscard]] fs::path random() const { return path_ / "random"; }

 private:
  fs::path path_;
};

double by_copy(const Machine& machine) {
  return gigabytes_per_second(kBytes, [&] {
    const auto report = need(barter::copy(machine.drive("nvme0"), machine.drive("nvme1"),
                                          {.policy = P2p::required, .queue_depth = kDepth, .chunk_bytes = kChunk}));
    if (report.host_memory_bytes != 0 || report.bytes != kBytes) throw Broken("the copy was not direct");
  });
}

struct Buffers {
  std::vector<std::byte> source{kBytes, std::byte{1}};
  std::vector<std::byte> staging{kDepth * kChunk};
  std::vector<std::byte> destination{kBytes};
};

double by_memcpy(Buffers& buffers) {
  return gigabytes_per_second(kBytes, [&] {
    // A size that the compiler knows would be copied by other instructions than the library's.
    std::size_t chunk = kChunk;
    benchmark::DoNotOptimize(chunk);
    for (std::uint64_t at = 0; at < kBytes; at += chunk) {
      std::byte* const slot = buffers.staging.data() + at / chunk % kDepth * chunk;
      std::memcpy(slot, buffers.source.data() + at, chunk);
      benchmark::ClobberMemory();
      std::memcpy(buffers.destination.data() + at, slot, chunk);
      benchmark::ClobberMemory();
    }
  });
}

std::vector<Row> copy_by_peer_route() {
  const Folder folder;
  const auto machine = need(Machine::open(folder.machine().string(), {.attach = {{"filler", folder.random()}}}));
  const auto filled = need(barter::copy(machine.drive("filler"), machine.drive("nvme0"), {.verify = true}));
  if (filled.verified != true) throw Broken("the drive could not be filled");
  Buffers buffers;
  return {row_of(
      {.name = "copy, peer route, 1 MiB chunks",
       .peer_name = "two memcpy passes",
       .unit = "GB/s",
       .goal = 0.85,
       .direction = Direction::at_least},
      {.rounds = 11, .warm_ups = 2}, [&] { return by_copy(machine); }, [&] { return by_memcpy(buffers); })};
}

const bool registered = register_bench("copy", copy_by_peer_route);

}  // namespace
