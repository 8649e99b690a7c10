#include "machine/nvme_endpoint.h"

#include <algorithm>
#include <utility>

namespace barter::machine {
namespace nvme = drivers::nvme;

namespace {

// A command moves at most 65536 blocks (NVMe 2.0, NLB is 16 bits), and what the controller takes at once.
std::uint64_t max_piece(const nvme::ControllerFacts& facts, const nvme::NamespaceFacts& space) {
  const std::uint64_t limit = std::min(facts.max_transfer_bytes, std::uint64_t{65536} * space.block_bytes);
  return std::max<std::uint64_t>(limit / space.block_bytes, 1) * space.block_bytes;
}

}  // namespace

NvmeEndpoint::NvmeEndpoint(DriveUnit& drive, Backend& backend, const nvme::NamespaceFacts& space,
                           std::unique_ptr<nvme::QueuePair> queue)
    : drive_(drive),
      backend_(backend),
      space_(space),
      max_piece_bytes_(max_piece(drive.controller->facts(), space)),
      queue_(std::move(queue)),
      results_(64) {}

Result<std::unique_ptr<NvmeEndpoint>> NvmeEndpoint::create(DriveUnit& drive, Backend& backend, std::uint32_t capacity) {
  const nvme::ControllerFacts& facts = drive.controller->facts();
  const std::uint32_t entries = std::clamp<std::uint32_t>(capacity + 1, 2, facts.max_queue_entries);
  auto queue = drive.controller->create_queue_pair({.entries = static_cast<std::uint16_t>(entries)});
  if (!queue) return std::unexpected(std::move(queue.error()));
  return std::unique_ptr<NvmeEndpoint>(
      new NvmeEndpoint(drive, backend, drive.controller->namespaces().front(), std::move(*queue)));
}

Result<void> NvmeEndpoint::reserve(std::uint64_t offset, std::uint64_t bytes) {
  return backend_.reserve(drive_, offset, bytes);
}

Result<void> NvmeEndpoint::submit(const Piece& piece) {
  return queue_->submit({
      .opcode = piece.direction == Direction::from_endpoint ? nvme::Opcode::read : nvme::Opcode::write,
      .namespace_id = space_.id,
      .block = piece.offset / space_.block_bytes,
      .blocks = static_cast<std::uint32_t>(piece.bytes / space_.block_bytes),
      .data = piece.memory,
      .tag = piece.tag,
  });
}

Result<std::size_t> NvmeEndpoint::poll(std::span<PieceResult> results) {
  const auto count = queue_->poll(std::span(results_).first(std::min(results_.size(), results.size())));
  if (!count) return count;
  std::ranges::transform(std::span(results_).first(*count), results.begin(), [](const nvme::CommandResult& result) {
    return PieceResult{.tag = result.tag, .status = result.status};
  });
  return count;
}

std::string NvmeEndpoint::describe(std::uint16_t status) const { return nvme::describe_status(status); }

Result<pci::DmaBuffer> NvmeEndpoint::allocate(std::uint64_t bytes) {
  return drive_.controller->function().allocate_dma(bytes, pci::DmaUse::data);
}

Result<pci::DmaBuffer> NvmeEndpoint::share(const pci::DmaBuffer& other) {
  return drive_.controller->function().share_dma(other);
}

}  // namespace barter::machine
