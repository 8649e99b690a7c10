// ask_kernel: run inside a guest, as root. Makes the kernel decide, for each ordered pair of NVMe drives, whether the client's
// DMA may go to the provider's memory, in two ways, and reads its decision from kretprobes:
//
//   read    an O_DIRECT read from the client into p2pmem of the provider: pci_p2pdma_map_type
//   enable  a namespace of the kernel's NVMe target on the client with the provider's p2pmem: pci_p2pdma_distance_many
//
// A line of JSON for each: {"by": "read", "client": "0000:03:00.0", "provider": "0000:04:00.0", "error": 0, "returned": [3]};
// and one for each drive: {"drive": "nvme0", "function": "0000:03:00.0"}, by the name that the machine's description gives it.
// A read also tells whether its bytes are there afterwards: "arrived": true. `error` is errno of the request, 0 for none. `returned` is what the function returned, once for each call; it may be empty.
// The kernel remembers answers of pci_p2pdma_map_type for a pair, and the probe sees the remembered one returned as well.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace {

namespace fs = std::filesystem;

const fs::path kTracing = "/sys/kernel/tracing";
const fs::path kTarget = "/sys/kernel/config/nvmet/subsystems/verdicts";
constexpr std::size_t kReadBytes = 4096;

[[noreturn]] void give_up(std::string_view what) {
  fmt::print(stderr, "ask_kernel: {}: {}\n", what, std::strerror(errno));
  std::exit(1);
}

// One write, as files of sysfs, tracefs and configfs want it. Returns errno, 0 for none.
int put(const fs::path& file, std::string_view text, int flags = O_WRONLY) {
  const int descriptor = ::open(file.c_str(), flags | O_CLOEXEC);
  if (descriptor < 0) return errno;
  const int error = ::write(descriptor, text.data(), text.size()) < 0 ? errno : 0;
  ::close(descriptor);
  return error;
}

void must_put(const fs::path& file, std::string_view text, int flags = O_WRONLY) {
  errno = put(file, text, flags);
  if (errno != 0) give_up(fmt::format("writing {} to {}", text, file.string()));
}

struct Drive {
  std::string function;  // 0000:03:00.0
  std::string name;      // what the machine's description calls it: its serial number
  std::string block;     // /dev/nvme0n1
  bool has_memory = false;
};

std::vector<Drive> find_drives() {
  std::vector<Drive> drives;
  for (const auto& controller : fs::directory_iterator("/sys/class/nvme")) {
    Drive drive{.function = fs::canonical(controller.path() / "device").filename()};
    std::ifstream(controller.path() / "serial") >> drive.name;
    for (const auto& entry : fs::directory_iterator(controller.path()))
      if (entry.path().filename().string().starts_with(controller.path().filename().string() + "n"))
        drive.block = "/dev/" + entry.path().filename().string();
    drive.has_memory = fs::exists(fmt::format("/sys/bus/pci/devices/{}/p2pmem/allocate", drive.function));
    if (drive.block.empty()) give_up(drive.function + " has no namespace");
    drives.push_back(std::move(drive));
  }
  std::ranges::sort(drives, {}, &Drive::function);
  return drives;
}

// What a kernel function returned since the last call.
class Probe {
 public:
  Probe(std::string name, std::string_view function) : name_(std::move(name)) {
    must_put(kTracing / "kprobe_events", fmt::format("r:{} {} ret=$retval:s32\n", name_, function),
             O_WRONLY | O_APPEND);
    must_put(kTracing / "events/kprobes" / name_ / "enable", "1");
  }

  std::vector<int> returned() const {
    std::vector<int> values;
    std::ifstream trace(kTracing / "trace");
    for (std::string line; std::getline(trace, line);) {
      const std::size_t at = line.rfind("ret=");
      if (line.contains(fmt::format(" {}: ", name_)) && at != std::string::npos)
        values.push_back(std::atoi(line.c_str() + at + 4));
    }
    return values;
  }

  static void forget() {
    const int descriptor = ::open((kTracing / "trace").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (descriptor < 0) give_up("emptying the trace");
    ::close(descriptor);
  }

 private:
  std::string name_;
};

void print(std::string_view by, const Drive& client, const Drive& provider, int error, const std::vector<int>& returned,
           std::string_view more = {}) {
  fmt::print("{{\"by\": \"{}\", \"client\": \"{}\", \"provider\": \"{}\", \"error\": {}, \"returned\": [{}]{}}}\n", by,
             client.function, provider.function, error, fmt::join(returned, ", "), more);
}

// The drives are new and full of zeros, so a read that arrived leaves nothing of what was written to the memory before.
constexpr std::uint64_t kBefore = 0xa5a5a5a5a5a5a5a5;
constexpr std::size_t kWords = kReadBytes / sizeof kBefore;

void fill(volatile std::uint64_t* memory) {
  for (std::size_t i = 0; i < kWords; ++i) memory[i] = kBefore;
}

bool is_zero(const volatile std::uint64_t* memory) {
  for (std::size_t i = 0; i < kWords; ++i)
    if (memory[i] != 0) return false;
  return true;
}

struct ReadResult {
  int error = 0;
  bool arrived = false;
};

ReadResult read_into_memory_of(const Drive& provider, const Drive& client) {
  const int memory =
      ::open(fmt::format("/sys/bus/pci/devices/{}/p2pmem/allocate", provider.function).c_str(), O_RDWR | O_CLOEXEC);
  if (memory < 0) give_up("opening p2pmem of " + provider.function);
  const int disk = ::open(client.block.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (disk < 0) give_up("opening " + client.block);
  void* target = ::mmap(nullptr, kReadBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (target == MAP_FAILED) give_up("mapping p2pmem of " + provider.function);
  auto* words = static_cast<std::uint64_t*>(target);
  fill(words);
  const int error = ::pread(disk, target, kReadBytes, 0) < 0 ? errno : 0;
  const bool arrived = is_zero(words);
  ::munmap(target, kReadBytes);
  ::close(disk);
  ::close(memory);
  return {error, arrived};
}

// Returns errno of enabling the namespace, after which it is disabled again.
int enable_with_memory_of(const Drive& provider, const Drive& client) {
  const fs::path space = kTarget / "namespaces/1";
  must_put(space / "device_path", client.block);
  must_put(space / "p2pmem", provider.function);
  const int error = put(space / "enable", "1");
  if (error == 0) must_put(space / "enable", "0");
  return error;
}

template <class Ask>
void for_all_pairs(const std::vector<Drive>& drives, Ask ask) {
  for (const Drive& client : drives)
    for (const Drive& provider : drives) {
      if (!provider.has_memory) continue;
      Probe::forget();
      ask(client, provider);
    }
}

}  // namespace

int main() {
  const std::vector<Drive> drives = find_drives();
  for (const Drive& drive : drives)
    fmt::print("{{\"drive\": \"{}\", \"function\": \"{}\"}}\n", drive.name, drive.function);
  const Probe map_type("map_type", "pci_p2pdma_map_type");
  const Probe distance("distance", "pci_p2pdma_distance_many");
  must_put(kTracing / "tracing_on", "1");
  for_all_pairs(drives, [&](const Drive& client, const Drive& provider) {
    const ReadResult read = read_into_memory_of(provider, client);
    print("read", client, provider, read.error, map_type.returned(),
          read.arrived ? ", \"arrived\": true" : ", \"arrived\": false");
  });
  fs::create_directories(kTarget / "namespaces/1");
  for_all_pairs(drives, [&](const Drive& client, const Drive& provider) {
    const int error = enable_with_memory_of(provider, client);
    print("enable", client, provider, error, distance.returned());
  });
}
