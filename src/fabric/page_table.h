// The page tables of one IOMMU domain: four levels of 512 entries, leaves of 4 KiB, 2 MiB and 1 GiB, as the IOMMUs of x86
// have them. Superpages are used wherever address and target are aligned for one, so that 1 GiB costs what 4 KiB does.
//
// Tables that become empty are kept for the next map(): an empty table is all zeros already. Not thread-safe: System's
// mutex guards it.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "barter/memory.hpp"

namespace barter::fabric {

// Everything here is a multiple of 4 KiB, below 2^48.
struct PageRange {
  std::uint64_t iova = 0;
  std::uint64_t target = 0;
  std::uint64_t bytes = 0;
};

class PageTable {
 public:
  static constexpr unsigned kAddressBits = 48;
  static constexpr std::size_t kMaxTables = std::size_t{1} << 18;  // 1 GiB of tables in one domain

  PageTable();

  // The range is not mapped yet. False, with nothing changed, if the limit of tables is reached.
  [[nodiscard]] bool map(PageRange range, Access access);
  // What of the range is mapped is not afterwards. Cuts no superpage in two: the range is one that was mapped.
  void unmap(std::uint64_t iova, std::uint64_t bytes);

  // The leaf that translates an address.
  struct Leaf {
    PageRange range;
    Access access = Access::read;
  };
  [[nodiscard]] std::optional<Leaf> translate(std::uint64_t iova) const;

  [[nodiscard]] std::size_t tables_in_use() const { return tables_.size() - spare_.size(); }

 private:
  // An entry: bits 51:12 hold the leaf's address or the next table's number, bit 7 tells a leaf above the lowest level,
  // bit 1 allows writes and bit 0 reads. An entry with neither right is empty.
  using Entry = std::uint64_t;
  struct Table {
    std::array<Entry, 512> entries{};
    unsigned used = 0;
  };

  static std::uint64_t fill(Table& table, unsigned level, const PageRange& range, Access access);
  static std::uint64_t clear(Table& table, unsigned level, std::uint64_t iova, std::uint64_t bytes);
  [[nodiscard]] bool map_in(std::uint32_t table, unsigned level, PageRange range, Access access);
  void unmap_in(std::uint32_t table, unsigned level, std::uint64_t iova, std::uint64_t bytes);
  [[nodiscard]] std::optional<std::uint32_t> new_table();

  std::vector<std::unique_ptr<Table>> tables_;  // number 0 is the root
  std::vector<std::uint32_t> spare_;            // numbers of empty tables
};

}  // namespace barter::fabric
