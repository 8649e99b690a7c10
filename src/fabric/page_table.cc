#include "fabric/page_table.h"

#include <algorithm>
#include <cassert>
#include <span>

namespace barter::fabric {
namespace {

constexpr std::uint64_t kRights = 3;
constexpr std::uint64_t kLeaf = std::uint64_t{1} << 7;
constexpr std::uint64_t kAddressMask = ((std::uint64_t{1} << 52) - 1) & ~std::uint64_t{0xfff};
constexpr unsigned kTopLevel = 3;
constexpr unsigned kHighestLeafLevel = 2;  // 1 GiB

constexpr std::uint64_t bytes_at(unsigned level) { return std::uint64_t{1} << (12 + 9 * level); }
constexpr std::size_t index_at(unsigned level, std::uint64_t iova) { return iova >> (12 + 9 * level) & 511; }
constexpr bool is_leaf(std::uint64_t entry, unsigned level) { return level == 0 || (entry & kLeaf) != 0; }
constexpr std::uint32_t table_of(std::uint64_t entry) {
  return static_cast<std::uint32_t>((entry & kAddressMask) >> 12);
}

}  // namespace

PageTable::PageTable() { tables_.push_back(std::make_unique<Table>()); }

std::optional<std::uint32_t> PageTable::new_table() {
  if (!spare_.empty()) {
    const std::uint32_t number = spare_.back();
    spare_.pop_back();
    return number;
  }
  if (tables_.size() >= kMaxTables) return std::nullopt;
  tables_.push_back(std::make_unique<Table>());
  spare_.reserve(tables_.capacity());  // so that unmap() never allocates
  return static_cast<std::uint32_t>(tables_.size() - 1);
}

bool PageTable::map(PageRange range, Access access) {
  assert((range.iova | range.target | range.bytes) % 4096 == 0 && range.bytes > 0);
  if (map_in(0, kTopLevel, range, access)) return true;
  unmap(range.iova, range.bytes);
  return false;
}

// As many leaves as this table takes, in one go: 128 GiB are 128 of them.
std::uint64_t PageTable::fill(Table& table, unsigned level, const PageRange& range, Access access) {
  const std::uint64_t step = bytes_at(level);
  const std::size_t first = index_at(level, range.iova);
  const std::size_t count = std::min<std::uint64_t>(range.bytes / step, table.entries.size() - first);
  Entry entry = range.target | static_cast<std::uint64_t>(access) | (level > 0 ? kLeaf : 0);
  for (Entry& one : std::span(table.entries).subspan(first, count)) {
    assert(one == 0);
    one = entry;
    entry += step;
  }
  table.used += static_cast<unsigned>(count);
  return count * step;
}

// The leaves from there on that belong to the range; how many bytes they were.
std::uint64_t PageTable::clear(Table& table, unsigned level, std::uint64_t iova, std::uint64_t bytes) {
  const std::uint64_t step = bytes_at(level);
  const std::size_t first = index_at(level, iova);
  const std::size_t most = std::min<std::uint64_t>(bytes / step, table.entries.size() - first);
  const auto run = std::span(table.entries).subspan(first, most);
  std::size_t count = 0;
  while (count < run.size() && run[count] != 0 && is_leaf(run[count], level)) ++count;
  std::ranges::fill(run.first(count), Entry{0});
  table.used -= static_cast<unsigned>(count);
  return count * step;
}

bool PageTable::map_in(std::uint32_t number, unsigned level, PageRange range, Access access) {
  const std::uint64_t step = bytes_at(level);
  while (range.bytes > 0) {
    Table& table = *tables_[number];
    std::uint64_t part = std::min(range.bytes, step - range.iova % step);
    Entry& entry = table.entries[index_at(level, range.iova)];
    if (level <= kHighestLeafLevel && part == step && range.target % step == 0) {
      part = fill(table, level, range, access);
    } else {
      if (entry == 0) {
        const auto child = new_table();
        if (!child) return false;
        entry = std::uint64_t{*child} << 12 | kRights;
        ++table.used;
      }
      assert(!is_leaf(entry, level));
      if (!map_in(table_of(entry), level - 1, {range.iova, range.target, part}, access)) return false;
    }
    range = {range.iova + part, range.target + part, range.bytes - part};
  }
  return true;
}

void PageTable::unmap(std::uint64_t iova, std::uint64_t bytes) { unmap_in(0, kTopLevel, iova, bytes); }

void PageTable::unmap_in(std::uint32_t number, unsigned level, std::uint64_t iova, std::uint64_t bytes) {
  const std::uint64_t step = bytes_at(level);
  Table& table = *tables_[number];
  while (bytes > 0) {
    std::uint64_t part = std::min(bytes, step - iova % step);
    Entry& entry = table.entries[index_at(level, iova)];
    if (part == step && entry != 0 && is_leaf(entry, level)) {
      part = clear(table, level, iova, bytes);
    } else if (entry != 0) {
      bool empty = is_leaf(entry, level);
      if (!empty) {
        const std::uint32_t child = table_of(entry);
        unmap_in(child, level - 1, iova, part);
        empty = tables_[child]->used == 0;
        if (empty) spare_.push_back(child);
      }
      if (empty) {
        entry = 0;
        --table.used;
      }
    }
    iova += part;
    bytes -= part;
  }
}

std::optional<PageTable::Leaf> PageTable::translate(std::uint64_t iova) const {
  if (iova >> kAddressBits != 0) return std::nullopt;
  std::uint32_t number = 0;
  for (unsigned level = kTopLevel;; --level) {
    const Entry entry = tables_[number]->entries[index_at(level, iova)];
    if ((entry & kRights) == 0) return std::nullopt;
    if (is_leaf(entry, level)) {
      const std::uint64_t bytes = bytes_at(level);
      return Leaf{{iova & ~(bytes - 1), entry & kAddressMask & ~(bytes - 1), bytes},
                  static_cast<Access>(entry & kRights)};
    }
    number = table_of(entry);
  }
}

}  // namespace barter::fabric
