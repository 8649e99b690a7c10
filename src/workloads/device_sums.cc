#include "workloads/device_sums.h"

#include <array>

#include <fmt/format.h>

#include "base/clock.h"
#include "drivers/accelerator/accelerator.h"

namespace barter::workloads {
namespace {

namespace gpu = drivers::accelerator;

std::unexpected<Error> failed(const Pair& pair, std::uint8_t status) {
  return fail({.code = ErrorCode::device_failed,
               .doing = "computing in the memory of",
               .subject = pair.accelerator->name,
               .why = gpu::describe_status(status)});
}

gpu::Operand operand(const Pair& pair, std::uint64_t offset) {
  return gpu::Operand::local(pair.accelerator->accelerator->usable_window().offset + pair.region->range().offset +
                             offset);
}

}  // namespace

Result<std::vector<std::uint64_t>> device_sums(const Pair& pair, std::span<const MemoryRange> ranges) {
  gpu::Accelerator& accelerator = *pair.accelerator->accelerator;
  auto channel = accelerator.create_channel(gpu::Kind::compute, {});
  if (!channel) return std::unexpected(std::move(channel.error()));
  std::vector<std::uint64_t> sums(ranges.size());
  std::array<gpu::CommandResult, 16> results;
  base::Clock& clock = accelerator.function().clock();
  std::size_t submitted = 0;
  std::size_t done = 0;
  while (done < ranges.size()) {
    while (submitted < ranges.size() && (*channel)->in_flight() < (*channel)->capacity()) {
      const MemoryRange& range = ranges[submitted];
      const auto command = gpu::checksum({.from = operand(pair, range.offset), .bytes = range.bytes}, submitted);
      if (auto sent = (*channel)->submit(command); !sent) return std::unexpected(std::move(sent.error()));
      ++submitted;
    }
    (*channel)->ring();
    const auto count = (*channel)->poll(results);
    if (!count) return std::unexpected(count.error());
    for (const gpu::CommandResult& result : std::span(results).first(*count)) {
      if (!result.ok()) return failed(pair, result.status);
      sums[result.tag] = result.result;
    }
    done += *count;
    if (*count == 0) clock.idle();
  }
  return sums;
}

Result<void> clear_memory(const Pair& pair) {
  gpu::Accelerator& accelerator = *pair.accelerator->accelerator;
  auto channel = accelerator.create_channel(gpu::Kind::copy, {});
  if (!channel) return std::unexpected(std::move(channel.error()));
  if (auto sent = (*channel)->submit(
          {.opcode = gpu::Opcode::fill, .destination = operand(pair, 0), .count = pair.region->size_bytes()});
      !sent)
    return sent;
  (*channel)->ring();
  std::array<gpu::CommandResult, 1> results;
  base::Clock& clock = accelerator.function().clock();
  while (true) {
    const auto count = (*channel)->poll(results);
    if (!count) return std::unexpected(count.error());
    if (*count != 0) return results[0].ok() ? Result<void>{} : failed(pair, results[0].status);
    clock.idle();
  }
}

}  // namespace barter::workloads
