// What an accelerator computes on memory by ordinary pointers: the pages are moved or left, and the accelerator is shown them, at
// first and whenever it asks because they have moved.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "barter/compute.hpp"
#include "machine/page_mirror.h"
#include "machine/state.h"
#include "peer/managed_pages.h"
#include "peer/pointers.h"

namespace barter::compute {
namespace {

namespace gpu = drivers::accelerator;
using machine::PageMirror;
using Wanted = PageMirror::Wanted;

constexpr std::uint64_t kPieceBytes = std::uint64_t{4} << 20;
constexpr const char* kTakenBack = "the memory was taken back while it was under way";
constexpr int kAttempts = 16;  // for a piece that is cut off again and again

gpu::Operand at(const void* pointer) { return gpu::Operand::virtual_memory(reinterpret_cast<std::uintptr_t>(pointer)); }

// One call: what is the same for all of its pieces.
class Work {
 public:
  Work(const Accelerator& accelerator, const char* doing, const Options& options)
      : accelerator_(accelerator),
        exchange_(accelerator.machine_state()->exchange()),
        mirror_(*accelerator.unit().mirror),
        doing_(doing),
        options_(options) {}

  [[nodiscard]] std::unexpected<Error> refuse(ErrorCode code, std::string why) const {
    return fail({.code = code, .doing = doing_, .subject = accelerator_.name(), .why = std::move(why)});
  }

  // What the command came to. `can_repeat`: doing it twice is the same as doing it once.
  [[nodiscard]] Result<std::uint64_t> run(const gpu::Command& command, std::span<const Wanted> wanted,
                                          bool can_repeat = true) {
    const auto kind = command.opcode >= gpu::Opcode::add ? gpu::Kind::compute : gpu::Kind::copy;
    std::unexpected<Error> failed = refuse(ErrorCode::revoked, kTakenBack);
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      if (auto placed = place(wanted); !placed) return std::unexpected(std::move(placed.error()));
      const auto result =
          mirror_.run(exchange_, {.kind = kind, .command = command, .wanted = wanted, .deadline = options_.deadline});
      if (!result) return std::unexpected(result.error());
      if (result->ok()) return result->result;
      const bool was_taken_back = mirror_.was_taken_back(wanted);
      failed = was_taken_back ? refuse(ErrorCode::revoked, kTakenBack)
                              : refuse(ErrorCode::device_failed, gpu::describe_status(result->status));
      // A link that went down meanwhile is a reason to look for another way.
      const bool may_go_elsewhere = was_taken_back || mirror_.forget_links(wanted);
      if (!can_repeat || !may_go_elsewhere) break;
    }
    return failed;
  }
  [[nodiscard]] Result<void> run_for_effect(const gpu::Command& command, std::span<const Wanted> wanted,
                                            bool can_repeat = true) {
    auto done = run(command, wanted, can_repeat);
    if (!done) return std::unexpected(std::move(done.error()));
    return {};
  }

 private:
  // By the policy. Pages that can't come are reached where they are.
  [[nodiscard]] Result<void> place(std::span<const Wanted> wanted) {
    if (options_.placement == Placement::stay || !accelerator_.unit().exporter) return {};
    for (const Wanted& one : wanted)
      for (const peer::PointerRun& run : exchange_.pointers().runs(one.memory)) {
        if (!run.managed) continue;
        auto moved =
            run.managed->move_to(*accelerator_.unit().exporter, {run.offset, run.range.bytes}, options_.deadline);
        const bool may_stay =
            !moved && (moved.error().code == ErrorCode::exhausted || moved.error().code == ErrorCode::pinned);
        if (!moved && !may_stay) return moved;
      }
    return {};
  }

  const Accelerator& accelerator_;
  peer::Exchange& exchange_;
  PageMirror& mirror_;
  const char* doing_;
  const Options options_;
};

// Calls `piece` with each part of `count` words of the size given, until one fails.
template <class Piece>
[[nodiscard]] Result<void> cut(std::size_t count, std::size_t word_bytes, Piece&& piece) {
  const std::size_t most = kPieceBytes / word_bytes;
  for (std::size_t first = 0; first < count; first += most)
    if (auto done = piece(first, std::min(most, count - first)); !done) return done;
  return {};
}

bool overlap(const void* one, std::size_t bytes, const void* other, std::size_t other_bytes) {
  const auto start = reinterpret_cast<std::uintptr_t>(one);
  const auto other_start = reinterpret_cast<std::uintptr_t>(other);
  return start < other_start + other_bytes && other_start < start + bytes;
}

}  // namespace

Result<void> copy(const Accelerator& accelerator, std::span<const std::byte> from, std::span<std::byte> into,
                  Options options) {
  Work work(accelerator, "copying by", options);
  if (from.size() != into.size())
    return work.refuse(ErrorCode::invalid_argument,
                       fmt::format("{} bytes do not go into {}", from.size(), into.size()));
  if (overlap(from.data(), from.size(), into.data(), into.size()))
    return work.refuse(ErrorCode::invalid_argument, "the two ranges overlap");
  return cut(from.size(), 1, [&](std::size_t first, std::size_t count) {
    const auto source = from.subspan(first, count);
    const auto target = into.subspan(first, count);
    return work.run_for_effect(gpu::copy({.from = at(source.data()), .to = at(target.data()), .bytes = count}),
                               std::array{Wanted{source, Access::read}, Wanted{target, Access::write}});
  });
}

Result<void> fill(const Accelerator& accelerator, std::span<std::uint64_t> into, std::uint64_t word, Options options) {
  Work work(accelerator, "filling by", options);
  return cut(into.size(), sizeof word, [&](std::size_t first, std::size_t count) {
    const auto part = into.subspan(first, count);
    return work.run_for_effect({.opcode = gpu::Opcode::fill,
                                .source = {},
                                .second = {},
                                .destination = at(part.data()),
                                .count = part.size_bytes(),
                                .parameter = word},
                               std::array{Wanted{std::as_bytes(part), Access::write}});
  });
}

Result<void> add(const Accelerator& accelerator, std::span<const std::uint32_t> one,
                 std::span<const std::uint32_t> other, std::span<std::uint32_t> into, Options options) {
  Work work(accelerator, "adding by", options);
  if (one.size() != other.size() || one.size() != into.size())
    return work.refuse(ErrorCode::invalid_argument,
                       fmt::format("{}, {} and {} words are not as many", one.size(), other.size(), into.size()));
  bool writes_over_source = false;
  for (const auto& source : {one, other}) {
    if (!overlap(source.data(), source.size_bytes(), into.data(), into.size_bytes())) continue;
    if (source.data() != into.data())
      return work.refuse(ErrorCode::invalid_argument, "the destination is a part of a source");
    writes_over_source = true;
  }
  return cut(one.size(), sizeof one[0], [&](std::size_t first, std::size_t count) {
    const auto target = into.subspan(first, count);
    return work.run_for_effect({.opcode = gpu::Opcode::add,
                                .source = at(one.data() + first),
                                .second = at(other.data() + first),
                                .destination = at(target.data()),
                                .count = count},
                               std::array{Wanted{std::as_bytes(one.subspan(first, count)), Access::read},
                                          Wanted{std::as_bytes(other.subspan(first, count)), Access::read},
                                          Wanted{std::as_bytes(target), Access::write}},
                               !writes_over_source);
  });
}

Result<std::uint64_t> sum(const Accelerator& accelerator, std::span<const std::uint32_t> words, Options options) {
  Work work(accelerator, "summing by", options);
  std::uint64_t total = 0;
  auto done = cut(words.size(), sizeof words[0], [&](std::size_t first, std::size_t count) -> Result<void> {
    const auto part = words.subspan(first, count);
    auto result = work.run(
        {.opcode = gpu::Opcode::sum, .source = at(part.data()), .second = {}, .destination = {}, .count = count},
        std::array{Wanted{std::as_bytes(part), Access::read}});
    if (!result) return std::unexpected(std::move(result.error()));
    total += *result;
    return {};
  });
  if (!done) return std::unexpected(std::move(done.error()));
  return total;
}

Result<void> histogram(const Accelerator& accelerator, std::span<const std::byte> bytes,
                       std::span<std::uint64_t, 256> into, Options options) {
  Work work(accelerator, "counting by", options);
  if (bytes.empty()) return work.refuse(ErrorCode::invalid_argument, "there are no bytes to count");
  if (overlap(bytes.data(), bytes.size(), into.data(), into.size_bytes()))
    return work.refuse(ErrorCode::invalid_argument, "the two ranges overlap");
  return work.run_for_effect({.opcode = gpu::Opcode::histogram,
                              .source = at(bytes.data()),
                              .second = {},
                              .destination = at(into.data()),
                              .count = bytes.size()},
                             std::array{Wanted{bytes, Access::read}, Wanted{std::as_bytes(into), Access::write}});
}

Result<std::uint64_t> checksum(const Accelerator& accelerator, std::span<const std::byte> bytes, std::uint64_t seed,
                               Options options) {
  Work work(accelerator, "summing up by", options);
  if (bytes.empty()) return work.refuse(ErrorCode::invalid_argument, "there are no bytes to sum up");
  return work.run({.opcode = gpu::Opcode::checksum,
                   .source = at(bytes.data()),
                   .second = {},
                   .destination = {},
                   .count = bytes.size(),
                   .parameter = seed},
                  std::array{Wanted{bytes, Access::read}});
}

Result<void> filter(const Accelerator& accelerator, Picture picture, Filter with, std::span<std::byte> into,
                    Options options) {
  Work work(accelerator, "filtering by", options);
  const std::uint64_t pixels = std::uint64_t{picture.width} * picture.height;
  if (pixels == 0 || picture.pixels.size() != pixels || into.size() != pixels)
    return work.refuse(ErrorCode::invalid_argument,
                       fmt::format("{} and {} bytes are no two pictures of {} by {} pixels", picture.pixels.size(),
                                   into.size(), picture.width, picture.height));
  if (with.shift > 15)
    return work.refuse(ErrorCode::invalid_argument, fmt::format("a shift of {} is not from 0 to 15", with.shift));
  if (overlap(picture.pixels.data(), pixels, into.data(), pixels) ||
      overlap(with.weights.data(), with.weights.size_bytes(), into.data(), pixels))
    return work.refuse(ErrorCode::invalid_argument, "the destination overlaps what is read");
  return work.run_for_effect(
      {.opcode = gpu::Opcode::filter,
       .source = at(picture.pixels.data()),
       .second = at(with.weights.data()),
       .destination = at(into.data()),
       .count = std::uint64_t{picture.height} << 32 | picture.width,
       .parameter = with.shift},
      std::array{Wanted{picture.pixels, Access::read}, Wanted{std::as_bytes(with.weights), Access::read},
                 Wanted{std::as_bytes(into), Access::write}});
}

}  // namespace barter::compute
