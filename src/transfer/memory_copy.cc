// From region to region by an accelerator's engines: chunk by chunk, each the best way that there is when its turn comes.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "barter/copy.hpp"
#include "drivers/accelerator/accelerator.h"
#include "machine/state.h"
#include "peer/fallback.h"

namespace barter {
namespace {

namespace gpu = drivers::accelerator;
using gpu::Operand;
using machine::DriveUnit;
using peer::FallbackReason;

constexpr std::uint64_t kMaxChunkBytes = std::uint64_t{64} << 20;
// A chunk that fails so often goes by way of host memory, though there be a direct route.
constexpr int kMaxDirectTries = 3;
constexpr std::size_t kMaxReroutedTold = 64;

std::unexpected<Error> refuse(ErrorCode code, const Accelerator& by, std::string why, std::string cure = {}) {
  return fail({.code = code,
               .doing = "copying memory by",
               .subject = by.name(),
               .why = std::move(why),
               .cure = std::move(cure)});
}

// One side of the copy.
struct Side {
  const Region* region = nullptr;
  DriveUnit* owner = nullptr;  // null: no accelerator
  [[nodiscard]] Operand at(std::uint64_t offset) const {
    return Operand::local(owner->accelerator->usable_window().offset + region->range().offset + offset);
  }
};

// The accelerator whose memory it is.
DriveUnit* owner_of(machine::State& machine, const Region& region) {
  for (const auto& unit : machine.drives())
    if (unit->accelerator != nullptr && unit->exporter && unit->bdf == region.exporter()) return unit.get();
  return nullptr;
}

// Engines of one accelerator, one copy at a time.
class Engine {
 public:
  [[nodiscard]] static Result<Engine> create(DriveUnit& unit, base::Clock& clock) {
    if (unit.trouble) return fail(*unit.trouble);
    auto channel = unit.accelerator->create_channel(gpu::Kind::copy, {.entries = 8});
    if (!channel) return std::unexpected(std::move(channel.error()));
    return Engine(std::move(*channel), clock);
  }
  // 0, or the status that the command ended with. An error is the end of this engine.
  [[nodiscard]] Result<std::uint8_t> copy(gpu::CopyBytes what) {
    if (auto sent = channel_->submit(gpu::copy(what)); !sent) return std::unexpected(std::move(sent.error()));
    channel_->ring();
    std::array<gpu::CommandResult, 1> results;
    while (true) {
      const auto count = channel_->poll(results);
      if (!count) return std::unexpected(count.error());
      if (*count == 1) return results[0].status;
      clock_->idle();
    }
  }

 private:
  Engine(std::unique_ptr<gpu::Channel> channel, base::Clock& clock) : channel_(std::move(channel)), clock_(&clock) {}
  std::unique_ptr<gpu::Channel> channel_;
  base::Clock* clock_;
};

// What is needed for chunks by way of host memory, once there is one.
struct ByHost {
  Engine engine;          // of the accelerator that owns the other region
  pci::DmaBuffer buffer;  // as the copying accelerator's DMA sees it
  pci::DmaBuffer shared;  // and as the other one's does; goes before `buffer`
};

class MemoryCopy {
 public:
  MemoryCopy(const Accelerator& by, Side from, Side to, const MemoryCopyOptions& options, Engine engine)
      : by_(by),
        machine_(*by.machine_state()),
        from_(from),
        to_(to),
        options_(options),
        engine_(std::move(engine)),
        reads_(from.owner != &by.unit()) {}

  [[nodiscard]] Result<MemoryCopyReport> run() {
    const std::uint64_t total = from_.region->size_bytes();
    for (std::uint64_t done = 0; done < total;) {
      const std::uint64_t bytes = std::min(options_.chunk_bytes, total - done);
      if (auto moved = move_chunk(done, bytes); !moved) {
        Error error = std::move(moved.error());
        error.why += fmt::format("; {} of {} bytes had arrived", done, total);
        return fail(std::move(error));
      }
      done += bytes;
      if (options_.progress) options_.progress({.done_bytes = done, .total_bytes = total});
    }
    for (const peer::FallbackLog::Entry& entry : fallbacks_.entries())
      report_.fallbacks.push_back({.code = std::string(peer::name_of(entry.reason)),
                                   .reason = entry.why,
                                   .chunks = entry.count,
                                   .bytes = entry.bytes});
    return std::move(report_);
  }

 private:
  // Whose memory is reached from outside, and where the copying accelerator has its own.
  [[nodiscard]] const Side& other() const { return reads_ ? from_ : to_; }
  [[nodiscard]] const Side& own() const { return reads_ ? to_ : from_; }

  [[nodiscard]] Result<void> move_chunk(std::uint64_t offset, std::uint64_t bytes) {
    // Not the engines' owner either may use what was taken back for good.
    for (const Side* side : {&from_, &to_})
      if (side->region->is_revoked())
        return refuse(
            ErrorCode::revoked, by_,
            fmt::format("the owner has taken back the memory of {} for good", side->region->exporter().to_string()));
    if (from_.owner == to_.owner) return move_within(offset, bytes);
    std::string why;
    for (int tries = 0; tries < kMaxDirectTries; ++tries) {
      auto decision = prepare_direct();
      if (!decision) return std::unexpected(std::move(decision.error()));
      if (decision->way == peer::Way::host) return move_by_host(offset, bytes, *decision);
      auto trouble = move_direct(offset, bytes);
      if (!trouble) return std::unexpected(std::move(trouble.error()));
      if (trouble->empty()) return {};
      why = std::move(*trouble);
      if (report_.rerouted.size() < kMaxReroutedTold) report_.rerouted.push_back(why);
      mapping_.reset();
    }
    auto decision = peer::decide(
        options_.policy, FallbackReason::transfer_failed,
        {.code = ErrorCode::device_failed, .doing = "copying memory by", .subject = by_.name(), .why = std::move(why)});
    if (!decision) return std::unexpected(std::move(decision.error()));
    return move_by_host(offset, bytes, *decision);
  }

  [[nodiscard]] Result<void> move_within(std::uint64_t offset, std::uint64_t bytes) {
    const auto status = engine_.copy({.from = from_.at(offset), .to = to_.at(offset), .bytes = bytes});
    if (!status) return std::unexpected(status.error());
    if (*status != 0) return refuse(ErrorCode::device_failed, by_, gpu::describe_status(*status));
    report_.own_bytes += bytes;
    return {};
  }

  // Direct, with a mapping, or by way of host memory, with a reason.
  [[nodiscard]] Result<peer::Decision> prepare_direct() {
    const Access access = reads_ ? Access::read : Access::write;
    auto decision =
        peer::decide(options_.policy, machine_.exchange().route(by_.bdf(), other().region->exporter()), access);
    if (!decision || decision->way == peer::Way::host || mapping_) return decision;
    auto mapping = machine_.exchange().try_map(*by_.unit().importer, *other().region, {.access = access});
    if (!mapping) return peer::decide(options_.policy, mapping.error());
    mapping_ = std::move(*mapping);
    return decision;
  }

  // Empty: it has arrived. Else what was wrong, and it is not known which bytes have.
  [[nodiscard]] Result<std::string> move_direct(std::uint64_t offset, std::uint64_t bytes) {
    const auto lease = mapping_->lease();
    if (!lease) return lease.error().why;
    std::vector<DmaSegment> there;
    if (const auto part = peer::cut(lease->segments(), {.offset = offset, .bytes = bytes}, there); !part)
      return refuse(ErrorCode::invalid_argument, by_, std::string(peer::explain(part.error())));
    Operand here = own().at(offset);
    for (const DmaSegment& segment : there) {
      const Operand away = Operand::segment(segment);
      const auto status =
          engine_.copy({.from = reads_ ? away : here, .to = reads_ ? here : away, .bytes = segment.bytes});
      if (!status) return std::unexpected(status.error());
      if (*status != 0) return fmt::format("by {}: {}", name_of(mapping_->route()), gpu::describe_status(*status));
      here = Operand::local(here.address() + segment.bytes);
    }
    (mapping_->route() == Route::link ? report_.link_bytes : report_.bus_bytes) += bytes;
    return std::string();
  }

  [[nodiscard]] Result<void> move_by_host(std::uint64_t offset, std::uint64_t bytes, const peer::Decision& decision) {
    if (!by_host_) {
      auto made = prepare_host();
      if (!made) return made;
    }
    const Operand ours = Operand::bus(by_host_->buffer.address());
    const Operand theirs = Operand::bus(by_host_->shared.address());
    const gpu::CopyBytes in_own{
        .from = reads_ ? ours : own().at(offset), .to = reads_ ? own().at(offset) : ours, .bytes = bytes};
    const gpu::CopyBytes in_other{
        .from = reads_ ? other().at(offset) : theirs, .to = reads_ ? theirs : other().at(offset), .bytes = bytes};
    for (const bool first : {true, false}) {
      const bool is_own = first != reads_;
      const auto status = (is_own ? engine_ : by_host_->engine).copy(is_own ? in_own : in_other);
      if (!status) return std::unexpected(status.error());
      if (*status != 0)
        return refuse(ErrorCode::device_failed, by_, "by way of host memory: " + gpu::describe_status(*status));
    }
    report_.host_bytes += bytes;
    if (decision.fallback) fallbacks_.note(*decision.fallback, decision.why, bytes);
    return {};
  }

  [[nodiscard]] Result<void> prepare_host() {
    if (other().owner == nullptr)
      return refuse(
          ErrorCode::unsupported, by_,
          fmt::format("there is no direct way to the memory of {}, and no engine of its own to bring it to host "
                      "memory",
                      other().region->exporter().to_string()),
          "copy to or from the memory of an accelerator");
    auto engine = Engine::create(*other().owner, machine_.backend().clock());
    if (!engine) return std::unexpected(std::move(engine.error()));
    auto buffer = by_.unit().accelerator->function().allocate_dma(options_.chunk_bytes, pci::DmaUse::data);
    if (!buffer) return std::unexpected(std::move(buffer.error()));
    auto shared = other().owner->accelerator->function().share_dma(*buffer);
    if (!shared) return std::unexpected(std::move(shared.error()));
    by_host_.emplace(std::move(*engine), std::move(*buffer), std::move(*shared));
    return {};
  }

  const Accelerator& by_;
  machine::State& machine_;
  const Side from_;
  const Side to_;
  const MemoryCopyOptions& options_;
  Engine engine_;
  const bool reads_;  // from the other region, or else it writes there
  std::optional<Mapping> mapping_;
  std::optional<ByHost> by_host_;
  peer::FallbackLog fallbacks_;
  MemoryCopyReport report_;
};

}  // namespace

Result<MemoryCopyReport> copy_memory(const Accelerator& by, const Region& from, const Region& to,
                                     const MemoryCopyOptions& options) {
  machine::State& machine = *by.machine_state();
  if (from.size_bytes() != to.size_bytes())
    return refuse(ErrorCode::invalid_argument, by,
                  fmt::format("one region has {} bytes and the other {}", from.size_bytes(), to.size_bytes()));
  if (from.state() == to.state()) return refuse(ErrorCode::invalid_argument, by, "both regions are one and the same");
  if (options.chunk_bytes == 0 || options.chunk_bytes > kMaxChunkBytes)
    return refuse(ErrorCode::invalid_argument, by,
                  fmt::format("chunks of {} bytes are not from 1 to {}", options.chunk_bytes, kMaxChunkBytes));
  const Side source{&from, owner_of(machine, from)};
  const Side target{&to, owner_of(machine, to)};
  if (source.owner != &by.unit() && target.owner != &by.unit())
    return refuse(ErrorCode::invalid_argument, by, "neither region is of its own memory",
                  "let the accelerator copy that owns one of the two");
  auto engine = Engine::create(by.unit(), machine.backend().clock());
  if (!engine) return std::unexpected(std::move(engine.error()));
  return MemoryCopy(by, source, target, options, std::move(*engine)).run();
}

}  // namespace barter
