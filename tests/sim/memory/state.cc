#include "state.h"

#include <algorithm>

namespace barter::sim {

using machine::Direction;

bool allows(Access access, Direction direction) {
  const Access wanted = direction == Direction::from_endpoint ? Access::write : Access::read;
  return (static_cast<unsigned>(access) & static_cast<unsigned>(wanted)) != 0;
}

bool Transfer::is_cut_off() const {
  return local.is_cut_off || std::ranges::any_of(all_parts(), [](const Part& part) { return part.end.is_cut_off; });
}

Flow flow_of(const Transfer& transfer, const Part& part) {
  std::uint32_t less = 0;
  for (const Part* one = transfer.parts.data(); one != &part; ++one) less += one->end.cells.count;
  const Cells own = transfer.local.cells.part(less, part.end.cells.count);
  if (transfer.direction == machine::Direction::from_endpoint) return {transfer.local, part.end, own, part.end.cells};
  return {part.end, transfer.local, part.end.cells, own};
}

}  // namespace barter::sim
