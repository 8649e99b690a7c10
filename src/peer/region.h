// What a Region handle names. It outlives its mappings: dropping the handle revokes them first.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"

namespace barter::peer {

class Core;
class MappingState;
struct ExporterState;

class RegionState : public std::enable_shared_from_this<RegionState> {
 public:
  RegionState(std::shared_ptr<Core> core, ExporterState& exporter, Bdf function, MemoryRange range)
      : core_(std::move(core)), function_(function), range_(range), exporter_(&exporter) {}

  [[nodiscard]] Bdf exporter() const { return function_; }
  [[nodiscard]] MemoryRange range() const { return range_; }
  [[nodiscard]] bool is_revoked() const;
  [[nodiscard]] std::span<std::byte> cpu_bytes();
  // The same, to be handed to the program: from now on a transfer knows pointers into it (pointers.h).
  [[nodiscard]] std::span<std::byte> show_cpu_bytes();
  [[nodiscard]] Result<RevokeReport> revoke(RevokeOptions options);
  [[nodiscard]] Result<RevokeReport> invalidate(RevokeOptions options);
  // The same for the mappings that touch these pages of the region alone: only they are to move.
  [[nodiscard]] Result<RevokeReport> invalidate_part(MemoryRange part, RevokeOptions options);
  // As Exporter::pin_limit_bytes(), for this region alone and on top of it: whoever has the region may have less to say than
  // the owner of the whole device. None at first. What is pinned already stays so.
  void limit_pins(std::optional<std::uint64_t> bytes);
  // The handle is dropped: revokes and gives the memory back.
  void release();

 private:
  friend class Core;

  const std::shared_ptr<Core> core_;
  const Bdf function_;
  const MemoryRange range_;

  std::atomic<const std::byte*> shown_ = nullptr;  // where, if the program was given a pointer

  // From here on only with the Core's lock held.
  ExporterState* exporter_;  // null once its device is withdrawn
  std::size_t index_in_exporter_ = 0;
  MappingState* first_mapping_ = nullptr;  // those that are live or closing
  std::uint64_t epoch_ = 0;        // moves with every invalidation; a map() that began before must not end after
  std::uint32_t taking_back_ = 0;  // calls of revoke and invalidate at work
  std::uint32_t in_domains_ = 0;   // calls of DmaDomain::map at work that no mapping stands for yet
  std::uint32_t pinned_mappings_ = 0;
  std::uint64_t pinned_bytes_ = 0;  // with those of mappings that are on their way
  std::optional<std::uint64_t> pin_limit_bytes_;
  bool revoked_ = false;
  bool quarantined_ = false;    // a late importer could not be cut off: DMA may still arrive
  std::vector<Bdf> defied_by_;  // importers whose devices kept what they should have forgotten, not reported yet
};

}  // namespace barter::peer
