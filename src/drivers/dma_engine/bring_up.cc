#include <utility>

#include <fmt/format.h>

#include "drivers/dma_engine/device.h"

namespace barter::drivers::dma_engine {
namespace {

constexpr std::uint64_t kMaxTransferBytes = std::uint64_t{1} << 62;

}  // namespace

Result<void> read_facts(Device& device) {
  if (auto known = check_identity(device); !known) return known;
  pci::Mmio& registers = *device.registers;
  const auto counts = read<ChannelCounts>(registers);
  EngineFacts& facts = device.facts;
  facts.channels = counts.get(ChannelCounts::channels);
  facts.max_segments = read<LongestList>(registers).get(LongestList::segments);
  facts.max_transfer_bytes = read<LargestTransfer>(registers).raw;
  if (facts.channels == 0 || facts.channels > kMostChannels)
    return fail(device.lie(fmt::format("it claims {} channels", facts.channels)));
  const auto ring = longest_ring(device, counts.get(ChannelCounts::longest_ring_log2));
  if (!ring) return fail(ring.error());
  facts.max_ring_entries = *ring;
  if (facts.max_segments == 0) return fail(device.lie("it claims to take lists of no segments"));
  if (facts.max_transfer_bytes == 0 || facts.max_transfer_bytes > kMaxTransferBytes)
    return fail(device.lie(fmt::format("it claims to move {} bytes at once", facts.max_transfer_bytes)));
  return {};
}

}  // namespace barter::drivers::dma_engine
