#include "vfio_machine.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

namespace barter::guest {
namespace nvme = drivers::nvme;
namespace {

constexpr std::uint64_t kScratchBytes = 65536;
constexpr std::uint32_t kBlockBytes = 512;
// An interrupt may come after the completion that it tells of (docs/memory-order.md, rule 5).
constexpr Duration kInterruptDelay = std::chrono::milliseconds(5);

[[noreturn]] void give_up(const std::string& why) {
  (void)std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(2);
}

std::vector<Bdf> read_functions() {
  const char* const text = std::getenv("BARTER_VFIO_FUNCTIONS");
  if (text == nullptr) give_up("this program runs in a guest: BARTER_VFIO_FUNCTIONS names no functions");
  std::istringstream words(text);
  std::vector<Bdf> found;
  for (std::string word; words >> word;) {
    const auto bdf = Bdf::parse(word);
    if (!bdf) give_up(bdf.error().message());
    found.push_back(*bdf);
  }
  if (found.size() < 2) give_up("BARTER_VFIO_FUNCTIONS names fewer than two functions");
  return found;
}

void pause(base::Clock& clock, Duration duration) {
  const auto end = clock.now() + duration;
  (void)base::wait_until(clock, end, [] { return false; });
}

}  // namespace

const std::vector<Bdf>& vfio_functions() {
  static const std::vector<Bdf> functions = read_functions();
  return functions;
}

// kprobe_profile: "  name  hits  misses" for each probe.
std::uint64_t kernel_faults() {
  const char* const file = std::getenv("BARTER_FAULTS");
  if (file == nullptr) give_up("BARTER_FAULTS names no file");
  base::SystemClock clock;
  pause(clock, std::chrono::milliseconds(20));  // the IOMMU tells faults by interrupt
  std::ifstream profile(file);
  std::string line;
  while (std::getline(profile, line)) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t hits = 0;
    if (words >> name >> hits && name == "barter_fault") return hits;
  }
  give_up("the kernel counts no faults");
}

bool Engine::is_up() {
  if (controller_) return true;
  if (!scratch_) {
    auto scratch = function_.allocate_dma(kScratchBytes, pci::DmaUse::data);
    if (!scratch) give_up(scratch.error().message());
    scratch_ = std::move(*scratch);
  }
  auto controller =
      nvme::Controller::create(std::make_unique<BorrowedFunction>(function_),
                               {.command_timeout = std::chrono::milliseconds(1500), .interrupt_vectors = kVectors});
  if (!controller) {
    (void)print(controller.error());
    return false;
  }
  controller_ = std::move(*controller);
  auto queue = controller_->create_queue_pair({.entries = 8});
  if (!queue) give_up(queue.error().message());
  queue_ = std::move(*queue);
  return true;
}

// Queues go before their controller.
void Engine::drop() {
  vector_queues_ = {};
  queue_.reset();
  controller_.reset();
}

bool Engine::run(nvme::QueuePair& queue, const nvme::Command& command) {
  if (auto submitted = queue.submit(command); !submitted) {
    (void)print(submitted.error());
    return false;
  }
  queue.ring();
  std::array<nvme::CommandResult, 4> results;
  while (true) {
    const auto count = queue.poll(results);
    if (!count) {
      (void)print(count.error());
      return false;
    }
    if (*count != 0) return results[0].ok();
    function_.clock().idle();
  }
}

bool Engine::move(nvme::Opcode opcode, std::span<const DmaSegment> segments, std::uint32_t blocks) {
  if (!is_up()) return false;
  if (run(*queue_, {.opcode = opcode, .block = 0, .blocks = blocks, .data = segments})) return true;
  drop();  // it may be in any state: the next access begins with a new one
  return false;
}

// The part that is asked for, and what is missing to whole blocks from the scratch buffer.
bool Engine::move_watched(nvme::Opcode opcode, DmaAddress at, std::uint64_t bytes) {
  const std::uint64_t before = kernel_faults();
  const auto blocks = static_cast<std::uint32_t>((bytes + kBlockBytes - 1) / kBlockBytes);
  const std::uint64_t rest = std::uint64_t{blocks} * kBlockBytes - bytes;
  std::vector<DmaSegment> segments{{at, bytes}};
  if (rest != 0) segments.push_back({scratch_->address() + (kScratchBytes - kBlockBytes), rest});
  const bool ok = move(opcode, segments, blocks);
  const bool faulted = kernel_faults() != before;
  if (faulted) ++refused_;
  return ok && !faulted;
}

bool Engine::writes(DmaAddress to, std::span<const std::byte> bytes) {
  if (!is_up()) return false;
  std::memset(scratch_->bytes().data(), 0, kScratchBytes);
  std::ranges::copy(bytes, scratch_->bytes().begin());
  const auto blocks = static_cast<std::uint32_t>((bytes.size() + kBlockBytes - 1) / kBlockBytes);
  const DmaSegment whole{scratch_->address(), std::uint64_t{blocks} * kBlockBytes};
  return move(nvme::Opcode::write, {&whole, 1}, blocks) && move_watched(nvme::Opcode::read, to, bytes.size());
}

bool Engine::reads(DmaAddress from, std::span<std::byte> bytes) {
  if (!is_up() || !move_watched(nvme::Opcode::write, from, bytes.size())) return false;
  const auto blocks = static_cast<std::uint32_t>((bytes.size() + kBlockBytes - 1) / kBlockBytes);
  const DmaSegment whole{scratch_->address(), std::uint64_t{blocks} * kBlockBytes};
  if (!move(nvme::Opcode::read, {&whole, 1}, blocks)) return false;
  std::ranges::copy(scratch_->bytes().first(bytes.size()), bytes.begin());
  return true;
}

// Queues with vectors are made at the first need: a controller takes no vector before the function's interrupts are on.
void Engine::interrupts(unsigned vector) {
  const bool is_new = !controller_;
  if (!is_up()) return;
  if (!vector_queues_[vector]) {
    auto queue = controller_->create_queue_pair({.entries = 8, .interrupt_vector = static_cast<std::uint16_t>(vector)});
    if (!queue) {
      // After a reset of the function the controller is a new one, and takes orders only from a new driver.
      drop();
      if (is_new) return (void)print(queue.error());
      return interrupts(vector);
    }
    vector_queues_[vector] = std::move(*queue);
    pause(function_.clock(), kInterruptDelay);
    (void)function_.take_interrupt(0);  // the admin queue's
  }
  (void)run(*vector_queues_[vector], {.opcode = nvme::Opcode::flush});
  pause(function_.clock(), kInterruptDelay);
}

}  // namespace barter::guest
