#include "machine/accelerator_endpoint.h"

#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "drivers/accelerator/engine_importer.h"
#include "drivers/accelerator/memory_exporter.h"
#include "machine/page_mirror.h"

namespace barter::machine {
namespace gpu = drivers::accelerator;

namespace {

constexpr std::uint32_t kMostPieces = 512;

class AcceleratorDriver final : public EndpointFactory {
 public:
  AcceleratorDriver(std::string name, std::unique_ptr<gpu::Accelerator> accelerator)
      : name_(std::move(name)), accelerator_(std::move(accelerator)) {}
  [[nodiscard]] Result<std::unique_ptr<Endpoint>> open_endpoint(std::uint32_t capacity) override {
    return AcceleratorEndpoint::create(name_, *accelerator_, capacity);
  }

 private:
  std::string name_;
  std::unique_ptr<gpu::Accelerator> accelerator_;
};

}  // namespace

Result<void> bring_up(DriveUnit& unit, AcceleratorParts parts) {
  unit.kind = UnitKind::accelerator;
  auto created = gpu::Accelerator::create(std::move(parts.function), parts.options);
  if (!created) return std::unexpected(std::move(created.error()));
  gpu::Accelerator& accelerator = **created;
  unit.size_bytes = accelerator.usable_window().bytes;
  unit.block_bytes = 1;
  unit.accelerator = &accelerator;
  unit.driver = std::make_shared<AcceleratorDriver>(unit.name, std::move(*created));
  // A memory of 64 KiB is the driver's own, whole: then there is nothing to share.
  if (unit.size_bytes != 0) unit.exporter = std::make_shared<gpu::MemoryExporter>(accelerator);
  if (const gpu::AcceleratorFacts& facts = accelerator.facts(); facts.window_bytes < facts.memory_bytes)
    unit.what_bounds_memory = fmt::format("the window of {} shows others {} of its {} bytes of memory", unit.name,
                                          facts.window_bytes, facts.memory_bytes);
  unit.importer = std::make_shared<gpu::EngineImporter>(accelerator.function(), parts.domain);
  unit.mirror = std::make_shared<PageMirror>(accelerator, parts.domain);
  return {};
}

AcceleratorEndpoint::AcceleratorEndpoint(std::string name, gpu::Accelerator& accelerator,
                                         std::unique_ptr<gpu::Channel> channel, std::uint32_t capacity)
    : name_(std::move(name)),
      accelerator_(accelerator),
      shown_(accelerator.usable_window()),
      channel_(std::move(channel)),
      pieces_(capacity),
      results_(64) {}

Result<std::unique_ptr<AcceleratorEndpoint>> AcceleratorEndpoint::create(std::string name,
                                                                         gpu::Accelerator& accelerator,
                                                                         std::uint32_t capacity) {
  const std::uint32_t pieces = std::clamp<std::uint32_t>(capacity, 1, kMostPieces);
  auto channel = accelerator.create_channel(gpu::Kind::copy, {.entries = std::bit_ceil(2 * pieces + 1)});
  if (!channel) return std::unexpected(std::move(channel.error()));
  const std::uint32_t room = std::min(pieces, (*channel)->capacity());
  return std::unique_ptr<AcceleratorEndpoint>(
      new AcceleratorEndpoint(std::move(name), accelerator, std::move(*channel), room));
}

Result<void> AcceleratorEndpoint::check(const Piece& piece) const {
  const auto refuse = [&](ErrorCode code, std::string why) {
    return fail({.code = code, .doing = "copying to or from the memory of", .subject = name_, .why = std::move(why)});
  };
  if (piece.offset > shown_.bytes || piece.bytes > shown_.bytes - piece.offset || piece.bytes > kPieceBytes)
    return refuse(ErrorCode::out_of_range, fmt::format("{} bytes at {} are not possible", piece.bytes, piece.offset));
  std::uint64_t rest = piece.bytes;
  for (const DmaSegment& segment : piece.memory) {
    if (segment.bytes == 0 || segment.bytes > rest || segment.address.value + segment.bytes < segment.bytes)
      return refuse(ErrorCode::invalid_argument, "its segments do not add up to the piece");
    rest -= segment.bytes;
  }
  if (rest != 0 || piece.memory.empty())
    return refuse(ErrorCode::invalid_argument, "its segments do not add up to the piece");
  if (piece.memory.size() > channel_->capacity())
    return refuse(ErrorCode::invalid_argument, fmt::format("{} segments are too many", piece.memory.size()));
  if (piece.memory.size() > channel_->capacity() - channel_->in_flight())
    return refuse(ErrorCode::exhausted, "too many commands are in flight");
  return {};
}

Result<void> AcceleratorEndpoint::submit(const Piece& piece) {
  if (auto checked = check(piece); !checked) return checked;
  const auto place = std::ranges::find(pieces_, 0u, &Open::commands);
  if (place == pieces_.end())
    return fail({.code = ErrorCode::exhausted,
                 .doing = "copying to or from the memory of",
                 .subject = name_,
                 .why = fmt::format("all {} pieces are in flight", pieces_.size())});
  const bool to_here = piece.direction == Direction::to_endpoint;
  std::uint64_t local = shown_.offset + piece.offset;
  *place = {.tag = piece.tag, .commands = 0, .status = 0};
  for (const DmaSegment& segment : piece.memory) {
    const auto here = gpu::Operand::local(local);
    const auto there = gpu::Operand::segment(segment);
    const auto tag = static_cast<std::uint64_t>(place - pieces_.begin());
    // What could be wrong was checked, so that this fails only where the channel is of no more use.
    if (auto sent = channel_->submit(
            gpu::copy({.from = to_here ? there : here, .to = to_here ? here : there, .bytes = segment.bytes}, tag));
        !sent)
      return sent;
    ++place->commands;
    local += segment.bytes;
  }
  return {};
}

Result<std::size_t> AcceleratorEndpoint::poll(std::span<PieceResult> results) {
  const auto count = channel_->poll(std::span(results_).first(std::min(results_.size(), results.size())));
  if (!count) return count;
  std::size_t ended = 0;
  for (const gpu::CommandResult& result : std::span(results_).first(*count)) {
    Open& open = pieces_[result.tag];
    if (open.status == 0) open.status = result.status;
    if (--open.commands == 0) results[ended++] = {.tag = open.tag, .status = open.status};
  }
  return ended;
}

std::string AcceleratorEndpoint::describe(std::uint16_t status) const {
  return gpu::describe_status(static_cast<std::uint8_t>(status));
}

Result<pci::DmaBuffer> AcceleratorEndpoint::allocate(std::uint64_t bytes) {
  return accelerator_.function().allocate_dma(bytes, pci::DmaUse::data);
}

Result<pci::DmaBuffer> AcceleratorEndpoint::share(const pci::DmaBuffer& other) {
  return accelerator_.function().share_dma(other);
}

}  // namespace barter::machine
