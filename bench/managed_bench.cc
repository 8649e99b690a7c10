// A touch that brings one page of managed memory back from an accelerator, against the least that a page fault answered by a
// program can cost: userfaultfd with a thread that maps the page at once.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "barter/barter.hpp"
#include "bench.h"

namespace {

using namespace barter;
using namespace barter::bench;
using namespace barter::literals;

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kPages = 64;
constexpr double kMostRatio = 3;

template <class T>
T need(Result<T> result) {
  if (!result) throw Broken(result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// Nanoseconds for one touch of each page.
double touch_all(volatile std::byte* memory) {
  const double seconds = seconds_of([&] {
    for (std::size_t page = 0; page < kPages; ++page) static_cast<void>(memory[page * kPageBytes]);
  });
  return seconds * 1e9 / kPages;
}

// Shared memory whose pages are there but not mapped: a thread is told of each touch, and maps the page.
class Bare {
 public:
  Bare() : faults_(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY))) {
    uffdio_api api{.api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM, .ioctls = 0};
    if (faults_ < 0 || ioctl(faults_, UFFDIO_API, &api) != 0) throw Broken("this kernel gives no userfaultfd");
    void* const mapped =
        mmap(nullptr, kPages * kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (mapped == MAP_FAILED) throw Broken("there is no memory");
    memory_ = static_cast<std::byte*>(mapped);
    uffdio_register wanted{
        .range = {.start = address(), .len = kPages * kPageBytes}, .mode = UFFDIO_REGISTER_MODE_MINOR, .ioctls = 0};
    if (ioctl(faults_, UFFDIO_REGISTER, &wanted) != 0) throw Broken("the memory can't be watched");
    thread_ = std::thread([this] { serve(); });
  }
  ~Bare() {
    stop_ = true;
    static_cast<void>(madvise(memory_, kPageBytes, MADV_DONTNEED));
    static_cast<void>(*static_cast<volatile std::byte*>(memory_));  // so that it looks
    thread_.join();
    munmap(memory_, kPages * kPageBytes);
    ::close(faults_);
  }
  [[nodiscard]] double touch() {
    if (madvise(memory_, kPages * kPageBytes, MADV_DONTNEED) != 0) throw Broken("pages can't be taken away");
    return touch_all(memory_);
  }

 private:
  [[nodiscard]] std::uint64_t address() const { return reinterpret_cast<std::uintptr_t>(memory_); }
  void serve() {
    while (!stop_) {
      pollfd wait{.fd = faults_, .events = POLLIN, .revents = 0};
      if (poll(&wait, 1, -1) < 0) continue;
      uffd_msg message{};
      if (read(faults_, &message, sizeof message) != sizeof message) continue;
      uffdio_continue wanted{.range = {.start = message.arg.pagefault.address & ~(kPageBytes - 1), .len = kPageBytes},
                             .mode = 0,
                             .mapped = 0};
      static_cast<void>(ioctl(faults_, UFFDIO_CONTINUE, &wanted));
    }
  }

  int faults_;
  std::byte* memory_ = nullptr;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

std::vector<Row> page_comes_back() {
  const Machine machine = need(Machine::open("ai-server"));
  const Provider device = need(machine.provider("gpu0"));
  ManagedMemory memory = need(ManagedMemory::create(machine, kPages * kPageBytes));
  Bare bare;
  return {row_of(
      {.name = "a touch brings 4 KiB back from a device",
       .peer_name = "bare userfaultfd",
       .unit = "ns",
       .goal = kMostRatio,
       .direction = Direction::at_most},
      {.rounds = 101, .warm_ups = 5},
      [&] {
        need(memory.move_to(device));
        return touch_all(memory.bytes().data());
      },
      [&] { return bare.touch(); })};
}

const bool registered = register_bench("managed", page_comes_back);

}  // namespace
