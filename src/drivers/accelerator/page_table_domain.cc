#include "drivers/accelerator/page_table_domain.h"

#include <utility>

#include <fmt/format.h>

#include "drivers/accelerator/address_space.h"
#include "peer/pages.h"

namespace barter::drivers::accelerator {

using peer::kPageBytes;

Result<DmaAddress> PageTableDomain::map(BusAddress, std::uint64_t, Access) {
  return fail({.code = ErrorCode::unsupported,
               .doing = "mapping memory in the page tables of",
               .subject = accelerator_.function().bdf().to_string(),
               .why = "no address was chosen for it"});
}

// Where in the accelerator's own memory it is, if it is there.
std::optional<std::uint64_t> PageTableDomain::local_offset(BusAddress target, std::uint64_t bytes) {
  const MemoryRange shown = accelerator_.window();
  const std::uint64_t offset = target.value - accelerator_.window_address().value;
  if (!MemoryRange{0, shown.bytes}.contains({offset, bytes})) return std::nullopt;
  return shown.offset + offset;
}

// What requests for it must carry. None: the bus address itself, of which the domain below need know nothing.
Result<std::optional<PageTableDomain::Below>> PageTableDomain::map_below(const Placed& placed) {
  const bool is_turned_around = placed.route == Route::bus_address;
  if (is_turned_around && !below_.device_translates() && !below_.keeps_bus_addresses()) return std::nullopt;
  const auto address = below_.map(placed.target, placed.bytes, placed.access);
  if (!address) return std::unexpected(address.error());
  return Below{.address = *address, .bytes = placed.bytes};
}

Result<DmaAddress> PageTableDomain::map_at(const Placed& placed) {
  const std::uint64_t in_page = placed.target.value % kPageBytes;
  if (placed.at.value % kPageBytes != in_page)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "mapping memory in the page tables of",
                 .subject = accelerator_.function().bdf().to_string(),
                 .why = fmt::format("{:#x} and {:#x} are at different places in their pages", placed.at.value,
                                    placed.target.value)});
  const std::uint64_t bytes = peer::whole_pages(in_page + placed.bytes);
  const AddressSpace::Page page{.virtual_address = placed.at.value - in_page, .bytes = bytes, .access = placed.access};
  const std::lock_guard lock(mutex_);
  AddressSpace& space = accelerator_.address_space();
  Result<void> mapped;
  if (placed.link) {
    mapped = space.map_link(page, {placed.link->value - in_page});
  } else if (const auto local = local_offset({placed.target.value - in_page}, bytes)) {
    mapped = space.map_local(page, *local);
  } else {
    const auto below = map_below(placed);
    if (!below) return std::unexpected(below.error());
    const std::uint64_t address = *below ? (*below)->address.value : placed.target.value;
    mapped = space.map_bus(page, {address - in_page});
    if (mapped && *below) below_of_.emplace(page.virtual_address, **below);
    if (!mapped && *below) below_.unmap((*below)->address, (*below)->bytes);
  }
  if (!mapped) return std::unexpected(std::move(mapped.error()));
  return placed.at;
}

void PageTableDomain::unmap(DmaAddress address, std::uint64_t) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t page = address.value / kPageBytes * kPageBytes;
  if (!accelerator_.address_space().unmap(page)) is_defied_ = true;
  const auto found = below_of_.find(page);
  if (found == below_of_.end()) return;
  below_.unmap(found->second.address, found->second.bytes);
  below_of_.erase(found);
}

}  // namespace barter::drivers::accelerator
