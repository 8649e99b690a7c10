#include "barter/copy.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <iterator>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/clock.h"
#include "base/log.h"
#include "machine/state.h"
#include "transfer/pipeline.h"
#include "transfer/plan.h"
#include "transfer/verify.h"

namespace barter {
namespace {

using machine::DriveUnit;
using transfer::Job;

constexpr std::uint32_t kMaxQueueDepth = 256;
constexpr std::uint64_t kDefaultChunkBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kMaxChunkBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kMaxStagingBytes = std::uint64_t{1} << 30;

std::unexpected<Error> refuse(ErrorCode code, const Extent& source, const Extent& destination, std::string why,
                              std::string cure = {}) {
  return fail({.code = code,
               .doing = "copying",
               .subject = fmt::format("{} to {}", source.drive.name(), destination.drive.name()),
               .why = std::move(why),
               .cure = std::move(cure)});
}

// Blocks of both drives; sizes of blocks are powers of two.
std::uint64_t block_of(const Extent& source, const Extent& destination) {
  return std::max(source.drive.block_bytes(), destination.drive.block_bytes());
}

Result<void> check_options(const Extent& source, const Extent& destination, const CopyOptions& options) {
  const std::uint64_t block = block_of(source, destination);
  const std::uint64_t chunk = options.chunk_bytes.value_or(kDefaultChunkBytes);
  if (options.queue_depth == 0 || options.queue_depth > kMaxQueueDepth)
    return refuse(ErrorCode::invalid_argument, source, destination,
                  fmt::format("a queue depth of {} is not possible", options.queue_depth),
                  fmt::format("use 1 to {}", kMaxQueueDepth));
  if (chunk == 0 || chunk % block != 0 || chunk > kMaxChunkBytes)
    return refuse(ErrorCode::invalid_argument, source, destination,
                  fmt::format("chunks of {} bytes are not possible", chunk),
                  fmt::format("use whole blocks of {} bytes, at most {}", block, kMaxChunkBytes));
  if (chunk * options.queue_depth > kMaxStagingBytes)
    return refuse(ErrorCode::invalid_argument, source, destination,
                  fmt::format("{} chunks of {} bytes in flight are more than {} bytes", options.queue_depth, chunk,
                              kMaxStagingBytes),
                  "use smaller chunks or a smaller queue depth");
  return {};
}

// The length of the copy: what was asked for, or the source to its end.
Result<std::uint64_t> length_of(const Extent& source, const Extent& destination) {
  const auto too_short = [&](const Extent& extent, std::uint64_t bytes) {
    return refuse(ErrorCode::out_of_range, source, destination,
                  fmt::format("{} has {} bytes, and the copy needs {} from offset {} on", extent.drive.name(),
                              extent.drive.size_bytes(), bytes, extent.offset),
                  "copy less with +LENGTH, or take a larger drive");
  };
  if (source.length && destination.length && *source.length != *destination.length)
    return refuse(
        ErrorCode::invalid_argument, source, destination,
        fmt::format("the source is to be {} bytes long and the destination {}", *source.length, *destination.length),
        "give one length");
  if (source.offset > source.drive.size_bytes())
    return refuse(ErrorCode::out_of_range, source, destination,
                  fmt::format("offset {} is past the end of {}, which has {} bytes", source.offset, source.drive.name(),
                              source.drive.size_bytes()),
                  "begin within it");
  const std::uint64_t bytes =
      source.length ? *source.length : destination.length.value_or(source.drive.size_bytes() - source.offset);
  for (const Extent* extent : {&source, &destination}) {
    const std::uint64_t size = extent->drive.size_bytes();
    const bool may_grow = extent == &destination && extent->drive.unit().is_file;
    if (bytes > std::numeric_limits<std::uint64_t>::max() - extent->offset) return too_short(*extent, bytes);
    if (!may_grow && (extent->offset > size || bytes > size - extent->offset)) return too_short(*extent, bytes);
    // A file ends where it ends, within a block or not, and a copy may end there with it.
    const bool replaced = extent == &destination && extent->offset == 0 && !extent->length;
    const bool at_end = extent->drive.unit().is_file && (replaced || extent->offset + bytes >= size);
    if (const std::uint32_t block = extent->drive.block_bytes();
        extent->offset % block != 0 || (bytes % block != 0 && !at_end))
      return refuse(ErrorCode::invalid_argument, source, destination,
                    fmt::format("offset {} and length {} are not whole blocks of {}, which have {} bytes",
                                extent->offset, bytes, extent->drive.name(), block));
  }
  if (bytes == 0) return refuse(ErrorCode::invalid_argument, source, destination, "there is nothing to copy");
  return bytes;
}

// No chunk is longer than the copy.
transfer::StagingNeeds needs_of(const Extent& source, const Extent& destination, std::uint64_t bytes,
                                const CopyOptions& options) {
  const std::uint64_t block = block_of(source, destination);
  const std::uint64_t whole_blocks = (bytes - 1) / block * block + block;
  return {.bytes = bytes,
          .most = {.slots = options.queue_depth,
                   .chunk_bytes = std::min(options.chunk_bytes.value_or(kDefaultChunkBytes), whole_blocks)},
          .block_bytes = block,
          .is_chunk_fixed = options.chunk_bytes.has_value()};
}

// No more slots than the copy has chunks; but of one chunk a small device memory may make two.
std::uint32_t slots_for(const transfer::StagingNeeds& needs, bool may_go_direct) {
  const std::uint64_t chunks = (needs.bytes - 1) / needs.most.chunk_bytes + 1;
  const std::uint64_t least = may_go_direct ? 2 : 1;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(needs.most.slots, std::max(chunks, least)));
}

// Two parts of one drive, a file and itself, or one file behind two drives.
Result<void> check_overlap(const Extent& source, const Extent& destination, std::uint64_t bytes) {
  const DriveUnit& from = source.drive.unit();
  const DriveUnit& to = destination.drive.unit();
  const bool same = from.medium == to.medium && (!from.medium.empty() || from.bdf == to.bdf);
  const std::uint64_t read_from = from.start_in_medium + source.offset;
  const std::uint64_t write_to = to.start_in_medium + destination.offset;
  const std::uint64_t apart = std::max(read_from, write_to) - std::min(read_from, write_to);
  if (!same || apart >= bytes) return {};
  // Only files are to be had by way of two devices.
  const bool same_file = from.is_file || from.bdf != to.bdf;
  return refuse(ErrorCode::invalid_argument, source, destination,
                same_file ? "they are the same file, and the two parts overlap" : "the two parts of the drive overlap");
}

// Routes revocations of the staging memory to the pipeline for as long as this lives.
class Hooks {
 public:
  Hooks(DriveUnit& source, DriveUnit& destination, transfer::Pipeline& pipeline)
      : source_(source), destination_(destination) {
    for (DriveUnit* unit : {&source_, &destination_})
      if (unit->importer) unit->importer->on_progress([&pipeline] { pipeline.drain(); });
  }
  ~Hooks() {
    for (DriveUnit* unit : {&source_, &destination_})
      if (unit->importer) unit->importer->on_progress({});
  }
  Hooks(const Hooks&) = delete;
  Hooks& operator=(const Hooks&) = delete;

 private:
  DriveUnit& source_;
  DriveUnit& destination_;
};

Result<transfer::Outcome> move_bytes(machine::State& machine, DriveUnit& source, DriveUnit& destination,
                                     transfer::Stager& stager, const transfer::Plan& plan, const Job& job,
                                     const CopyOptions& options) {
  transfer::Manner manner{.direct_only = options.policy == P2p::required, .progress = options.progress};
  if (!plan.providers.empty()) {
    manner.stage = [&stager] { return stager.stage(); };
  } else if (plan.fallback) {
    manner.stage = [&plan]() -> transfer::DirectStagingResult {
      return std::unexpected(
          transfer::NotStaged{.reason = *plan.fallback, .error = {.code = ErrorCode::no_route, .why = plan.why_host}});
    };
  }
  transfer::Pipeline pipeline(job, std::move(manner), machine.backend().clock());
  const Hooks hooks(source, destination, pipeline);
  auto outcome = pipeline.run();
  if (!outcome && !pipeline.is_quiet()) {
    // A drive that has stopped answering may still write to memory that is about to be given back.
    for (DriveUnit* unit : {&source, &destination}) {
      if (!unit->importer) continue;
      if (auto cut_off = unit->importer->isolate(); !cut_off) outcome.error().why += "; " + cut_off.error().message();
    }
  }
  if (!outcome) {
    for (const DriveUnit* unit : {&source, &destination})
      if (std::string trouble = machine.backend().last_trouble(*unit); !trouble.empty())
        outcome.error().why += "; " + trouble;
  }
  return outcome;
}

// The device that most of it went through; of others, a word.
void say_providers(CopyReport& report, std::vector<transfer::Through> direct) {
  if (direct.empty()) return;
  std::ranges::sort(direct, std::ranges::greater(), &transfer::Through::bytes);
  const auto name = [](const DriveUnit& unit) { return unit.name.empty() ? unit.bdf.to_string() : unit.name; };
  report.route = CopyRoute::peer;
  report.provider = name(*direct.front().provider);
  report.provider_bdf = direct.front().provider->bdf;
  for (const transfer::Through& other : std::span(direct).subspan(1))
    report.reasons.push_back(fmt::format("{} bytes went through the memory of {}", other.bytes, name(*other.provider)));
}

Result<CopyReport> run(machine::State& machine, Extent& source, Extent& destination, std::uint64_t bytes,
                       const CopyOptions& options) {
  DriveUnit& from = source.drive.unit();
  DriveUnit& to = destination.drive.unit();
  transfer::StagingNeeds needs = needs_of(source, destination, bytes, options);
  const auto plan = transfer::make_plan(machine, from, to, options, needs.most.chunk_bytes);
  if (!plan) return std::unexpected(plan.error());
  base::log::debug("copying {} bytes from {} to {}, policy {}: {}", bytes, from.name, to.name, name_of(options.policy),
                   !plan->providers.empty() ? fmt::format("direct, by way of {}", plan->providers.front()->name)
                                            : fmt::format("by way of host memory. {}", plan->why_host));
  auto source_endpoint = from.open_endpoint(options.queue_depth);
  if (!source_endpoint) return std::unexpected(std::move(source_endpoint.error()));
  auto destination_endpoint = to.open_endpoint(options.queue_depth);
  if (!destination_endpoint) return std::unexpected(std::move(destination_endpoint.error()));
  if ((*destination_endpoint)->is_read_only())
    return refuse(ErrorCode::refused, source, destination, fmt::format("{} is write-protected", to.name));
  if (auto reserved = (*destination_endpoint)->reserve(destination.offset, bytes); !reserved)
    return std::unexpected(std::move(reserved.error()));

  needs.most.slots = slots_for(needs, !plan->providers.empty());
  const Job job{.source = **source_endpoint,
                .destination = **destination_endpoint,
                .source_offset = source.offset,
                .destination_offset = destination.offset,
                .bytes = bytes,
                .shape = needs.most};
  transfer::Stager stager(machine, from, to, plan->providers, needs);
  base::SystemClock wall;
  const auto before = machine.backend().traffic();
  const base::TimePoint start = wall.now();
  auto outcome = move_bytes(machine, from, to, stager, *plan, job, options);
  if (!outcome) return std::unexpected(std::move(outcome.error()));
  if (destination.offset == 0 && !destination.length)
    if (auto ended = (*destination_endpoint)->end_at(bytes); !ended) return std::unexpected(std::move(ended.error()));
  CopyReport report{.bytes = bytes, .seconds = std::chrono::duration<double>(wall.now() - start).count()};
  const auto after = machine.backend().traffic();
  if (before && after) {
    report.host_memory_bytes = after->data_bytes - before->data_bytes;
    report.control_bytes = after->control_bytes - before->control_bytes;
  } else {
    report.host_memory_bytes = 2 * outcome->host_bytes;  // into it and out of it
  }
  report.fallbacks = std::move(outcome->fallbacks);
  report.reasons = plan->reasons;
  std::ranges::copy(stager.passed_over(), std::back_inserter(report.reasons));
  say_providers(report, std::move(outcome->direct));
  if (options.verify) {
    const auto difference = transfer::first_difference(job, machine.backend().clock());
    if (!difference) return std::unexpected(difference.error());
    report.verified = !difference->has_value();
    report.first_difference = *difference;
  }
  return report;
}

}  // namespace

std::string_view name_of(CopyRoute route) { return route == CopyRoute::peer ? "peer" : "host"; }

Result<CopyReport> copy(Result<Extent> source, Result<Extent> destination, const CopyOptions& options) {
  if (!source) return std::unexpected(std::move(source.error()));
  // Said before anything of the destination is: where there is no source, nothing else matters.
  if (const auto& not_there = source->drive.unit().not_there; not_there) {
    Error error = *not_there;
    error.doing = "copying from";
    error.cure = "name a file that is there";
    return fail(std::move(error));
  }
  if (!destination) return std::unexpected(std::move(destination.error()));
  if (source->drive.machine_state() != destination->drive.machine_state())
    return refuse(ErrorCode::invalid_argument, *source, *destination, "the two drives are on different machines");
  if (auto checked = check_options(*source, *destination, options); !checked)
    return std::unexpected(std::move(checked.error()));
  const auto bytes = length_of(*source, *destination);
  if (!bytes) return std::unexpected(bytes.error());
  if (auto checked = check_overlap(*source, *destination, *bytes); !checked)
    return std::unexpected(std::move(checked.error()));
  return run(*source->drive.machine_state(), *source, *destination, *bytes, options);
}

}  // namespace barter
