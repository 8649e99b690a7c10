// 4 KiB random reads at queue depth 32: one core runs the driver, the software fabric and the drive's model. The peer is
// the bare memcpy of the same blocks, in the same order, from the drive's own memory into the same buffers: whatever more
// time the reads take, commands, completions, address look-ups and counters took.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "barter/units.hpp"
#include "base/random.h"
#include "bench.h"
#include "devices/nvme/backing.h"
#include "devices/nvme/controller.h"
#include "drivers/nvme/controller.h"
#include "fabric/fabric.h"
#include "topology/description.h"

namespace {

using namespace barter;
using namespace barter::bench;
using namespace barter::literals;

constexpr std::uint64_t kDriveBytes = 512_MiB;  // more than most caches hold
constexpr std::uint64_t kReadBytes = 4_KiB;
constexpr std::uint32_t kBlockBytes = 512;
constexpr std::size_t kDepth = 32;
constexpr std::size_t kReads = 65536;  // in a round

constexpr const char* kMachine = R"(
name = "one-drive"
[[root_complex]]
name = "rc0"
[[root_port]]
name = "rp0"
below = "rc0"
[[drive]]
name = "nvme0"
below = "rp0"
size = "512 MiB"
)";

template <class T>
T need(Result<T> result) {
  if (!result) throw Broken(result.error().message());
  return std::move(*result);
}
void need(Result<void> result) {
  if (!result) throw Broken(result.error().message());
}

class RandomReads {
 public:
  RandomReads() : order_(kReads) {
    auto backing = need(devices::nvme::create_memory_backing(kDriveBytes));
    medium_ = backing->memory();
    if (medium_.empty()) throw Broken("the drive's blocks are not memory");
    base::Random random(1);
    // Every page is touched: reads of pages that were never written would all find the same zeros in the cache.
    for (std::size_t at = 0; at < medium_.size(); at += sizeof(std::uint64_t)) {
      const std::uint64_t noise = random.next();
      std::memcpy(medium_.data() + at, &noise, sizeof noise);
    }
    for (std::uint64_t& offset : order_) offset = random.below(kDriveBytes / kReadBytes) * kReadBytes;

    devices::nvme::ControllerSetup setup;
    setup.namespaces.push_back({.backing = std::move(backing), .block_bytes = kBlockBytes});
    fabric_ = need(fabric::Fabric::create(need(topology::parse_description(kMachine, "bench")), {}));
    need(fabric_->plug("nvme0", need(devices::nvme::create_controller(std::move(setup)))));
    need(fabric_->enumerate());
    controller_ = need(drivers::nvme::Controller::create(need(fabric_->function(need(fabric_->find("nvme0")))), {}));
    buffers_ = need(controller_->function().allocate_dma(kDepth * kReadBytes, pci::DmaUse::data));
    queue_ = need(controller_->create_queue_pair({.entries = kDepth + 1}));
  }

  // Nanoseconds for each read.
  double by_driver() {
    return 1e9 / kReads * seconds_of([&] {
             base::Clock& clock = controller_->function().clock();
             std::array<drivers::nvme::CommandResult, kDepth> results;
             std::size_t sent = 0;
             std::size_t done = 0;
             while (done < kReads) {
               while (sent < kReads && queue_->in_flight() < kDepth) submit(sent++);
               queue_->ring();
               clock.idle();
               const std::size_t taken = need(queue_->poll(results));
               for (std::size_t index = 0; index < taken; ++index)
                 if (!results[index].ok()) throw Broken(drivers::nvme::describe_status(results[index].status));
               done += taken;
             }
           });
  }

  double by_memcpy() {
    return 1e9 / kReads * seconds_of([&] {
             // A size that the compiler knows would be copied by other instructions than the library's.
             std::size_t bytes = kReadBytes;
             benchmark::DoNotOptimize(bytes);
             for (std::size_t index = 0; index < kReads; ++index) {
               std::memcpy(buffers_.bytes().data() + index % kDepth * kReadBytes, medium_.data() + order_[index],
                           bytes);
               benchmark::ClobberMemory();
             }
           });
  }

  // The last blocks that were read are where they belong.
  void check() {
    by_driver();
    for (std::size_t index = kReads - kDepth; index < kReads; ++index)
      if (!std::ranges::equal(buffers_.bytes().subspan(index % kDepth * kReadBytes, kReadBytes),
                              medium_.subspan(order_[index], kReadBytes)))
        throw Broken("a read gave other bytes than the drive holds");
  }

 private:
  void submit(std::size_t index) {
    const DmaSegment segment{buffers_.address() + index % kDepth * kReadBytes, kReadBytes};
    need(queue_->submit({.opcode = drivers::nvme::Opcode::read,
                         .block = order_[index] / kBlockBytes,
                         .blocks = kReadBytes / kBlockBytes,
                         .data = {&segment, 1},
                         .tag = index}));
  }

  // In order of life: the queue pair goes first, the fabric last. The medium belongs to the drive in it.
  std::vector<std::uint64_t> order_;
  std::span<std::byte> medium_;
  std::unique_ptr<fabric::Fabric> fabric_;
  std::unique_ptr<drivers::nvme::Controller> controller_;
  pci::DmaBuffer buffers_;
  std::unique_ptr<drivers::nvme::QueuePair> queue_;
};

std::vector<Row> random_reads() {
  RandomReads reads;
  reads.check();
  return {row_of(
      {.name = "4 KiB random reads, queue depth 32",
       .peer_name = "memcpy of the same blocks",
       .unit = "ns/read",
       .goal = 1.5,
       .direction = Direction::at_most},
      {.rounds = 21}, [&] { return reads.by_driver(); }, [&] { return reads.by_memcpy(); })};
}

const bool registered = register_bench("nvme-random-read", random_reads);

}  // namespace
