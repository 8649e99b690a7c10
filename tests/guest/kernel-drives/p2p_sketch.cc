// The simplest program that uses p2pmem, to compare with, and one that takes the memory away from others.
//
//   p2p_sketch copy ALLOCATE SOURCE DESTINATION MIB    one MiB at a time, read and then written; prints the seconds it took
//   p2p_sketch hold ALLOCATE BYTES                     maps that much until it is ended
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

constexpr std::size_t kChunkBytes = 1 << 20;

void* map(const char* allocate, std::size_t bytes) {
  const int file = open(allocate, O_RDWR | O_CLOEXEC);
  void* const memory = file < 0 ? MAP_FAILED : mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) std::perror(allocate);
  return memory;
}

int copy(const char* allocate, const char* from, const char* to, long count) {
  const int source = open(from, O_RDONLY | O_DIRECT | O_CLOEXEC);
  const int destination = open(to, O_WRONLY | O_DIRECT | O_CLOEXEC);
  void* const memory = map(allocate, kChunkBytes);
  if (source < 0 || destination < 0 || memory == MAP_FAILED) return 1;
  const auto start = std::chrono::steady_clock::now();
  for (long chunk = 0; chunk < count; ++chunk) {
    const auto at = static_cast<off_t>(chunk) * static_cast<off_t>(kChunkBytes);
    if (pread(source, memory, kChunkBytes, at) != static_cast<ssize_t>(kChunkBytes) ||
        pwrite(destination, memory, kChunkBytes, at) != static_cast<ssize_t>(kChunkBytes)) {
      std::perror("copying");
      return 1;
    }
  }
  std::printf("%.6f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 6 && std::string_view(arguments[1]) == "copy")
    return copy(arguments[2], arguments[3], arguments[4], std::atol(arguments[5]));
  if (count == 4 && std::string_view(arguments[1]) == "hold") {
    if (map(arguments[2], static_cast<std::size_t>(std::atoll(arguments[3]))) == MAP_FAILED) return 1;
    while (true) pause();
  }
  std::fputs("usage: p2p_sketch copy ALLOCATE SOURCE DESTINATION MIB | hold ALLOCATE BYTES\n", stderr);
  return 2;
}
