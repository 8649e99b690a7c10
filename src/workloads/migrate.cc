// migrate: a training-like loop moves managed memory between host memory and two accelerators while a DMA engine reads it and the
// CPU touches it (docs/workloads/migrate.md).
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "barter/io.hpp"
#include "barter/managed.hpp"
#include "base/clock.h"
#include "base/random.h"
#include "workloads/workload.h"

namespace barter::workloads {
namespace {

constexpr std::uint64_t kBlockBytes = std::uint64_t{64} << 10;
constexpr Duration kDeadline = std::chrono::seconds(30);  // nothing in here takes long; it ends a run that hangs

// The mover goes on when the engine has read at least once for so many moves, so that neither works alone; and every so often it moves
// the very block that the engine reads.
constexpr std::uint64_t kMovesForARead = 32;
constexpr std::uint64_t kMovesForOneInUse = 4;

// What a block holds: the same word all over, which tells the block and how often it was written.
struct Block {
  std::shared_mutex order;  // who writes a block has it alone: moves ask nobody
  std::uint64_t version = 0;
};
std::uint64_t word_of(std::size_t block, std::uint64_t version) { return std::uint64_t{block} << 40 | version; }

bool holds(std::span<const std::byte> bytes, std::uint64_t word) {
  const auto* const words = reinterpret_cast<const std::uint64_t*>(bytes.data());
  return std::all_of(words, words + bytes.size() / sizeof word, [word](std::uint64_t one) { return one == word; });
}

// What the three threads have done, and the first thing that went wrong.
struct Tally {
  std::atomic<std::uint64_t> moves = 0;
  std::atomic<std::size_t> being_read = 0;      // which block
  std::atomic<std::uint64_t> direct_bytes = 0;  // read by the engine from accelerators
  std::atomic<std::uint64_t> host_bytes = 0;    // and from host memory
  std::atomic<std::uint64_t> reads = 0;
  std::atomic<std::uint64_t> maps_again = 0;  // a page moved between mapping and reading
  std::atomic<std::uint64_t> writes = 0;
  std::atomic<std::uint64_t> looks = 0;  // of the CPU
  std::atomic<std::uint64_t> wrong = 0;
  std::atomic<bool> is_over = false;
  std::mutex mutex;
  std::optional<Error> trouble;
  void fail(Error error) {
    const std::lock_guard lock(mutex);
    if (!trouble) trouble = std::move(error);
    is_over = true;
  }
};

class Migrate {
 public:
  Migrate(const WorkloadOptions& options, DmaEngine engine, std::array<Provider, 2> accelerators, ManagedMemory memory,
          Region sink, Mapping into_sink)
      : options_(options),
        engine_(std::move(engine)),
        accelerators_(std::move(accelerators)),
        memory_(std::move(memory)),
        sink_(std::move(sink)),
        into_sink_(std::move(into_sink)),
        blocks_(memory_.bytes().size() / kBlockBytes) {
    for (auto& block : blocks_) block = std::make_unique<Block>();
  }

  [[nodiscard]] Result<WorkloadReport> run() {
    for (std::size_t block = 0; block < blocks_.size(); ++block) write(block);
    const base::SystemClock clock;
    const auto start = clock.now();
    std::thread mover([this] { move(); });
    std::thread reader([this] { read(); });
    std::thread toucher([this] { touch(); });
    mover.join();
    reader.join();
    toucher.join();
    const double seconds = std::chrono::duration<double>(clock.now() - start).count();
    if (tally_.trouble) return fail(std::move(*tally_.trouble));
    for (std::size_t block = 0; block < blocks_.size(); ++block) look(block);
    return report(seconds);
  }

 private:
  [[nodiscard]] MemoryRange range_of(std::size_t block) const { return {block * kBlockBytes, kBlockBytes}; }
  [[nodiscard]] std::span<std::byte> bytes_of(std::size_t block) const {
    return memory_.bytes().subspan(block * kBlockBytes, kBlockBytes);
  }

  // Forward on one accelerator, backward on the other, and home.
  void move() {
    base::Random chance(options_.seed);
    base::SystemClock clock;
    for (std::uint64_t step = 0; step < kMigrateMoves && !tally_.is_over; ++step) {
      const auto has_been_read = [&] { return tally_.is_over || tally_.reads * kMovesForARead >= step; };
      if (!base::wait_until(clock, clock.now() + kDeadline, has_been_read)) return tally_.fail(too_slow());
      const std::size_t any = chance.below(blocks_.size());
      const MemoryRange range = range_of(step % kMovesForOneInUse == 0 ? tally_.being_read.load() : any);
      const auto moved = step % 3 == 2 ? memory_.move_to_host(range, {.deadline = kDeadline})
                                       : memory_.move_to(accelerators_[step % 3], range, {.deadline = kDeadline});
      if (!moved) return tally_.fail(moved.error());
      ++tally_.moves;
    }
    tally_.is_over = true;
  }

  [[nodiscard]] Error too_slow() const {
    return {.code = ErrorCode::timed_out,
            .doing = "running migrate with",
            .subject = engine_.name(),
            .why = "the engine has read no block until the deadline"};
  }

  // The engine reads block after block, wherever its pages are.
  void read() {
    base::Random chance(options_.seed + 1);
    while (!tally_.is_over || tally_.reads == 0) {
      const std::size_t block = chance.below(blocks_.size());
      const std::shared_lock lock(blocks_[block]->order);
      tally_.being_read = block;
      auto done = read(block);
      if (!done) return tally_.fail(std::move(done.error()));
      if (!*done) continue;
      ++tally_.reads;
      if (!holds(sink_.cpu_bytes(), word_of(block, blocks_[block]->version))) ++tally_.wrong;
    }
  }

  // False: a page has moved before it was read.
  [[nodiscard]] Result<bool> read(std::size_t block) {
    const MemoryRange range = range_of(block);
    auto mapping = memory_.map(engine_, {.access = Access::read, .offset = range.offset, .bytes = range.bytes});
    if (!mapping) return std::unexpected(std::move(mapping.error()));
    auto leases = mapping->lease();
    auto target = into_sink_.lease();
    if (!target) return std::unexpected(std::move(target.error()));
    if (!leases) {
      ++tally_.maps_again;
      return false;
    }
    if (auto moved = move_bytes(engine_, *leases, std::span(&*target, 1)); !moved)
      return std::unexpected(std::move(moved.error()));
    for (const ManagedPart& part : mapping->parts())
      (part.is_direct ? tally_.direct_bytes : tally_.host_bytes) += part.range.bytes;
    return true;
  }

  // The CPU looks at blocks, and writes every fourth time.
  void touch() {
    base::Random chance(options_.seed + 2);
    while (!tally_.is_over || tally_.writes == 0) {
      const std::size_t block = chance.below(blocks_.size());
      chance.below(4) == 0 ? write(block) : look(block);
    }
  }
  void write(std::size_t block) {
    const std::unique_lock lock(blocks_[block]->order);
    const std::uint64_t word = word_of(block, ++blocks_[block]->version);
    auto* const words = reinterpret_cast<std::uint64_t*>(bytes_of(block).data());
    std::fill(words, words + kBlockBytes / sizeof word, word);
    ++tally_.writes;
  }
  void look(std::size_t block) {
    const std::shared_lock lock(blocks_[block]->order);
    if (!holds(bytes_of(block), word_of(block, blocks_[block]->version))) ++tally_.wrong;
    ++tally_.looks;
  }

  [[nodiscard]] WorkloadReport report(double seconds) const {
    const ManagedCounters counters = memory_.counters();
    const bool is_whole = counters.pages_lost == 0 && counters.late_importers == 0;
    const std::uint64_t direct = tally_.direct_bytes;
    const std::uint64_t by_host = tally_.host_bytes;
    WorkloadReport report{.route = direct != 0 ? CopyRoute::peer : CopyRoute::host,
                          .bytes = direct + by_host,
                          .verified = tally_.wrong == 0 && is_whole,
                          .seconds = seconds};
    const auto add_part = [&](const char* name, std::string from, std::uint64_t bytes, CopyRoute route,
                              std::string why) {
      if (bytes != 0)
        report.parts.push_back({.name = name,
                                .from = std::move(from),
                                .to = engine_.name(),
                                .bytes = bytes,
                                .route = route,
                                .reason = std::move(why),
                                .verified = report.verified});
    };
    add_part("pages in accelerators", fmt::format("{} and {}", accelerators_[0].name(), accelerators_[1].name()),
             direct, CopyRoute::peer, "");
    add_part("pages in host memory", "host memory", by_host, CopyRoute::host,
             options_.policy == P2p::disabled ? "" : "the pages were there");
    const auto measure = [&](const char* name, std::uint64_t value) {
      report.measures.push_back({.name = name, .value = static_cast<double>(value)});
    };
    measure("moves", tally_.moves);
    measure("pages_to_device", counters.pages_to_device);
    measure("pages_to_host", counters.pages_to_host);
    measure("pages_by_touch", counters.pages_by_touch);
    measure("pages_by_refusal", counters.pages_by_refusal);
    measure("reads", tally_.reads);
    measure("maps_again", tally_.maps_again);
    measure("writes", tally_.writes);
    measure("looks", tally_.looks);
    measure("wrong", tally_.wrong);
    measure("pages_lost", counters.pages_lost);
    return report;
  }

  const WorkloadOptions options_;
  const DmaEngine engine_;
  const std::array<Provider, 2> accelerators_;
  ManagedMemory memory_;
  const Region sink_;
  const Mapping into_sink_;
  std::vector<std::unique_ptr<Block>> blocks_;
  Tally tally_;
};

std::unexpected<Error> refuse(const Machine& machine, std::string why, std::string cure) {
  return fail({.code = ErrorCode::unsupported,
               .doing = "running migrate on",
               .subject = machine.name(),
               .why = std::move(why),
               .cure = std::move(cure)});
}

}  // namespace

Result<WorkloadReport> run_migrate(const Machine& machine, const WorkloadOptions& options) {
  const auto accelerators = machine.accelerator_names();
  const auto engines = machine.dma_engine_names();
  if (accelerators.size() < 2 || engines.empty())
    return refuse(machine,
                  fmt::format("it has {} accelerators and {} DMA engines", accelerators.size(), engines.size()),
                  "use a machine with two accelerators and a DMA engine, such as training");
  if (!machine.state()->runs_by_itself())
    return refuse(machine, "its devices take turns in one thread, and this takes three", "open it threaded");
  auto engine = machine.dma_engine(engines.front());
  auto first = machine.provider(accelerators[0]);
  auto second = machine.provider(accelerators[1]);
  if (!engine) return std::unexpected(std::move(engine.error()));
  if (!first) return std::unexpected(std::move(first.error()));
  if (!second) return std::unexpected(std::move(second.error()));
  auto sink = first->allocate(kBlockBytes);
  if (!sink) return std::unexpected(std::move(sink.error()));
  auto into_sink = engine->map(*sink, {.access = Access::write});
  if (!into_sink) return std::unexpected(std::move(into_sink.error()));
  const std::uint64_t bytes = std::max<std::uint64_t>(options.bytes / kBlockBytes, 1) * kBlockBytes;
  auto memory = ManagedMemory::create(machine, bytes, {.touch_deadline = kDeadline});
  if (!memory) return std::unexpected(std::move(memory.error()));
  if (options.policy == P2p::disabled)
    for (Provider* const owner : {&*first, &*second})
      owner->on_request([](const Request&) { return Answer::by_way_of_host(); });
  const std::uint64_t before = host_data_bytes(*machine.state());
  auto report = Migrate(options, std::move(*engine), {*first, *second}, std::move(*memory), std::move(*sink),
                        std::move(*into_sink))
                    .run();
  for (Provider* const owner : {&*first, &*second}) owner->on_request({});
  if (!report) return report;
  report->host_memory_bytes = host_data_bytes(*machine.state()) - before;
  const auto refused = std::ranges::find(report->measures, "pages_by_refusal", &WorkloadMeasure::name);
  if (options.policy == P2p::required && refused->value != 0)
    return fail(
        {.code = ErrorCode::no_route,
         .doing = "running migrate on",
         .subject = machine.name(),
         .why = fmt::format("{} pages went to host memory because the engine could not reach them", refused->value),
         .cure = "allow host memory: --policy preferred"});
  return report;
}

}  // namespace barter::workloads
