#include "drivers/accelerator/address_space.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include <fmt/format.h>

#include "drivers/accelerator/device.h"

namespace barter::drivers::accelerator {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr unsigned kPageLog2s[] = {30, 21, 12};  // leaves, largest first
constexpr std::string_view kMapping = "mapping memory for the accelerator";

void store(std::uint64_t* entry, PageEntry value) {
  std::atomic_ref<std::uint64_t>(*entry).store(value.raw, std::memory_order_release);
}

// The largest page that begins here and there and is no longer than what is left.
unsigned page_log2_for(std::uint64_t virtual_address, std::uint64_t target, std::uint64_t bytes) {
  for (const unsigned log2 : kPageLog2s) {
    const std::uint64_t page = std::uint64_t{1} << log2;
    if ((virtual_address | target) % page == 0 && bytes >= page) return log2;
  }
  return 12;
}

}  // namespace

AddressSpace::~AddressSpace() = default;

Result<void> AddressSpace::check(const Page& page, std::uint64_t target) const {
  if ((page.virtual_address | page.bytes | target) % kPageBytes != 0 || page.bytes == 0)
    return fail(device_.error(ErrorCode::invalid_argument, kMapping,
                              fmt::format("{} bytes at {:#x} to {:#x} are not whole pages of 4 KiB", page.bytes,
                                          page.virtual_address, target)));
  if (page.virtual_address >= kVirtualBytes || page.bytes > kVirtualBytes - page.virtual_address || target >> 52 != 0 ||
      page.bytes > (std::uint64_t{1} << 52) - target)
    return fail(device_.error(ErrorCode::out_of_range, kMapping,
                              fmt::format("{} bytes at {:#x} to {:#x} do not fit 48 bits of virtual and 52 of other "
                                          "addresses",
                                          page.bytes, page.virtual_address, target)));
  const auto after = mappings_.lower_bound(page.virtual_address);
  const bool overlaps_next = after != mappings_.end() && after->first - page.virtual_address < page.bytes;
  const bool overlaps_last =
      after != mappings_.begin() && page.virtual_address - std::prev(after)->first < std::prev(after)->second.bytes;
  if (overlaps_next || overlaps_last)
    return fail(device_.error(ErrorCode::invalid_argument, kMapping,
                              fmt::format("something is mapped at {:#x} already", page.virtual_address),
                              "unmap it first"));
  return {};
}

Result<void> AddressSpace::map_local(Page page, std::uint64_t local_offset) {
  const std::uint64_t memory = device_.facts.memory_bytes;
  if (local_offset > memory || page.bytes > memory - local_offset)
    return fail(device_.error(
        ErrorCode::out_of_range, kMapping,
        fmt::format("{} bytes from {:#x} on end behind its {} bytes of memory", page.bytes, local_offset, memory)));
  return map(page, {.address = local_offset, .common = {}});
}

Result<void> AddressSpace::map_bus(Page page, DmaAddress address) {
  return map(page, {.address = address.value, .common = PageEntry{}.with(PageEntry::on_bus, true)});
}

Result<void> AddressSpace::map_link(Page page, LinkAddress address) {
  return map(page, {.address = address.value, .common = {}});
}

Result<void> AddressSpace::map(const Page& page, Target target) {
  if (auto checked = check(page, target.address); !checked) return checked;
  target.common = target.common.with(PageEntry::valid, true)
                      .with(PageEntry::leaf, true)
                      .with(PageEntry::writable, page.access != Access::read);
  if (!root_) {
    auto root = make_table();
    if (!root) return fail(std::move(root.error()));
    root_ = std::move(*root);
    write(*device_.registers, TableRootRegister::from(PageEntry::from(root_->page.address().value)
                                                          .with(PageEntry::valid, true)
                                                          .with(PageEntry::on_bus, true)
                                                          .raw));
  }
  if (auto installed = install(page, target); !installed) {
    clear(page.virtual_address, page.bytes, target.address);
    return installed;
  }
  mappings_.emplace(page.virtual_address, Mapped{page.bytes, target.address});
  return {};
}

Result<void> AddressSpace::install(Page page, Target target) {
  while (page.bytes != 0) {
    const unsigned log2 = page_log2_for(page.virtual_address, target.address, page.bytes);
    const auto at = entry(page.virtual_address, log2);
    if (!at) return std::unexpected(at.error());
    store(*at, PageEntry::from(target.common.raw | target.address));
    page.virtual_address += std::uint64_t{1} << log2;
    page.bytes -= std::uint64_t{1} << log2;
    target.address += std::uint64_t{1} << log2;
  }
  return {};
}

Result<std::unique_ptr<AddressSpace::Table>> AddressSpace::make_table() {
  if (tables_ == kMaxTables)
    return fail(device_.error(ErrorCode::exhausted, kMapping, fmt::format("all {} page tables are in use", kMaxTables),
                              "map larger pieces, aligned to 2 MiB"));
  auto page = device_.function->allocate_dma(kPageBytes, pci::DmaUse::control);
  if (!page) return fail(std::move(page.error()));
  ++tables_;
  auto table = std::make_unique<Table>();
  table->page = std::move(*page);
  return table;
}

// A place that holds a leaf now may have held a table before: the table is kept, empty, and is linked in again.
Result<std::uint64_t*> AddressSpace::entry(std::uint64_t virtual_address, unsigned page_log2) {
  Table* table = root_.get();
  for (unsigned shift = 39;; shift -= 9) {
    const auto index = static_cast<std::uint32_t>(virtual_address >> shift & 511);
    auto* const entries = reinterpret_cast<std::uint64_t*>(table->page.bytes().data());
    if (shift == page_log2) return entries + index;
    std::unique_ptr<Table>& below = table->below[index];
    if (!below) {
      auto made = make_table();
      if (!made) return std::unexpected(std::move(made.error()));
      below = std::move(*made);
    }
    store(entries + index,
          PageEntry::from(below->page.address().value).with(PageEntry::valid, true).with(PageEntry::on_bus, true));
    table = below.get();
  }
}

void AddressSpace::clear(std::uint64_t virtual_address, std::uint64_t bytes, std::uint64_t target) {
  while (bytes != 0) {
    const unsigned log2 = page_log2_for(virtual_address, target, bytes);
    const auto at = entry(virtual_address, log2);
    if (!at) return;  // it was never made: here installing ended
    store(*at, {});
    virtual_address += std::uint64_t{1} << log2;
    target += std::uint64_t{1} << log2;
    bytes -= std::uint64_t{1} << log2;
  }
}

Result<void> AddressSpace::unmap(std::uint64_t virtual_address) {
  const auto found = mappings_.find(virtual_address);
  if (found == mappings_.end())
    return fail(device_.error(ErrorCode::not_found, "unmapping memory of the accelerator",
                              fmt::format("nothing was mapped at {:#x}", virtual_address)));
  clear(found->first, found->second.bytes, found->second.target);
  mappings_.erase(found);
  return invalidate();
}

Result<void> AddressSpace::invalidate() {
  write(*device_.registers, InvalidateRegister{}.with(InvalidateRegister::asked, true));
  const bool in_time = device_.wait([&] {
    const auto now = read<InvalidateRegister>(*device_.registers);
    return now.raw == 0xffffffff || !now.get(InvalidateRegister::asked);
  });
  // One that is gone makes no accesses.
  if (in_time) return {};
  return fail(device_.silence("invalidating translations of the accelerator", "INVALIDATE still reads 1"));
}

}  // namespace barter::drivers::accelerator
