#include <string>
#include <utility>

#include <fmt/format.h>

#include "drivers/nic/device.h"

namespace barter::drivers::nic {

Result<void> read_facts(Device& device) {
  if (auto known = check_identity(device); !known) return known;
  pci::Mmio& registers = *device.registers;
  const auto counts = read<PairCounts>(registers);
  const auto lists = read<ListLimits>(registers);
  NicFacts& facts = device.facts;
  facts.pairs = counts.get(PairCounts::pairs);
  facts.max_segments = lists.get(ListLimits::segments);
  facts.address_bits = lists.get(ListLimits::address_bits);
  facts.max_message_bytes = read<LargestMessage>(registers).raw;
  facts.keys = read<KeyCount>(registers).get(KeyCount::keys);
  const auto lie = [&](std::string why) { return fail(device.lie(std::move(why))); };
  if (facts.pairs == 0 || facts.pairs > kMostPairs) return lie(fmt::format("it claims {} queue pairs", facts.pairs));
  const auto ring = longest_ring(device, counts.get(PairCounts::longest_ring_log2));
  if (!ring) return fail(ring.error());
  facts.max_ring_entries = *ring;
  if (facts.max_segments == 0) return lie("it claims to take lists of no segments");
  if (facts.address_bits < 32 || facts.address_bits > 64)
    return lie(fmt::format("it claims addresses of {} bits", facts.address_bits));
  const auto boundary_log2 = lists.get(ListLimits::boundary_log2);
  if (boundary_log2 != 0 && (boundary_log2 < 12 || boundary_log2 > 63))
    return lie(fmt::format("it claims that no segment crosses a multiple of 2^{}", boundary_log2));
  facts.boundary_bytes = boundary_log2 == 0 ? 0 : std::uint64_t{1} << boundary_log2;
  if (facts.max_message_bytes == 0 || facts.max_message_bytes > kMostBytes)
    return lie(fmt::format("it claims messages of {} bytes", facts.max_message_bytes));
  if (facts.keys == 0) return lie("it claims to have no keys");
  return {};
}

}  // namespace barter::drivers::nic
