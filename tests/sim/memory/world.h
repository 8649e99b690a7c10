// One simulated machine: drives and accelerators that share memory, transfers in flight, owners that change their minds, and
// things that go wrong. Each step does one random thing and then compares every byte with the shadow.
//
// The files: world.cc builds it and steps, units.cc brings devices up and down, transfers.cc starts and ends transfers,
// copies.cc chains them, memory_operations.cc and taking_back.cc do what owners and importers do.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/random.h"
#include "fabric/fabric.h"
#include "fabric/scratch_device.h"
#include "machine/endpoint.h"
#include "peer/exchange.h"
#include "peer/fallback.h"
#include "shadow.h"
#include "tally.h"
#include "unit.h"

namespace barter::sim {

inline constexpr std::size_t kMaxRegions = 12;
inline constexpr std::size_t kMaxSimMappings = 32;
inline constexpr std::size_t kMaxTransfers = 48;
inline constexpr std::size_t kMaxParts = 2;
inline constexpr std::size_t kMaxLooseLeases = 12;
inline constexpr std::size_t kMaxStale = 16;
inline constexpr std::size_t kMaxCopies = 3;
inline constexpr std::uint32_t kCellsInBuffer = 32;

// What differs from machine to machine.
struct Layout {
  bool one_switch = true;
  bool acs = false;                // the switch redirects everything
  bool direct_translated = false;  // but what is translated
  bool ats = false;
  bool iommu = false;
  bool turns = true;  // the root complex turns peer requests around
  bool calm = false;  // nothing goes wrong
  double lost = 0, poisoned = 0, late = 0, ignored = 0;
  double unfinished = 0, disordered = 0;  // of drives' commands: done and never completed, and completed late
  double unplug = 0, link_down = 0;       // for each time that the machine gets on
};

struct SharedRegion {
  std::optional<Region> handle;
  std::uint64_t serial = 0;
  std::uint32_t unit = 0;
  Cells cells;  // of the unit's memory
  bool is_revoked = false;
  bool is_orphan = false;  // its device has left, and the memory is no longer the region's
};

struct SharedMapping {
  std::optional<Mapping> handle;
  std::uint64_t region = 0;  // its serial
  std::uint32_t region_unit = 0;
  std::uint32_t unit = 0;  // the importer
  Access access = Access::read;
  Cells cells;  // of the region's unit's memory
  DmaSegment at;
  peer::MappingId id;
  bool is_closed = false;
};

// One side of a transfer, in memory of a peer or of the host.
struct Part {
  std::uint32_t place = 0;
  Cells cells;
  DmaSegment at;
  Lease lease;               // none: host memory, or an address that was taken back
  std::uint64_t region = 0;  // 0: host memory
  bool is_cut_off = false;
  bool had_arrived = false;       // cut off, and its bytes were all there at that moment
  std::vector<std::byte> before;  // of what is read: the bytes when it was cut off
};

struct Transfer {
  bool is_active = false;
  bool is_rogue = false;      // goes by an address that was taken back before it began
  bool is_disturbed = false;  // its memory was wiped by a reset
  std::uint32_t unit = 0;
  machine::Direction direction = machine::Direction::from_endpoint;
  std::uint64_t tag = 0;
  Local local;
  std::array<Part, kMaxParts> parts;
  std::uint32_t part_count = 0;
  std::optional<std::uint32_t> copy;
};

inline constexpr std::uint64_t kTakenBack = ~std::uint64_t{0};  // instead of a region's serial

struct LooseLease {
  Lease lease;
  std::uint64_t region = 0;  // 0: this place is free
  DmaSegment at;
  std::uint32_t unit = 0;
  peer::MappingId id;
};

struct StaleAddress {
  std::uint32_t unit = 0;
  DmaSegment at;
  std::uint32_t place = 0;
  Cells cells;
};

// From drive to drive: into memory of a peer and out of it, or by way of host memory.
enum class Leg : std::uint8_t { none, into_peer, at_peer, from_peer, falls_back, into_host, at_host, from_host };

struct Copy {
  Leg leg = Leg::none;
  std::uint32_t from = 0, to = 0;
  Cells source, destination;
  Cells staging;  // of the peer's memory, then of the reader's host buffer
  std::uint32_t staging_place = 0;
  std::uint64_t region = 0;
  std::uint64_t region_offset = 0;
  std::optional<Mapping> write, read;
  std::vector<std::byte> content;  // what is to arrive
  std::vector<std::byte> carried;  // what the processor took out of the reader's buffer
  std::uint32_t waited = 0;        // steps
};

enum class Outcome : std::uint8_t { done, refused, not_then };

class World {
 public:
  [[nodiscard]] static std::unique_ptr<World> create(std::uint64_t seed, Break broken, Tally& tally);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void step();
  // Drops everything in a random order, and looks once more.
  void end();

  // What is wrong; nothing wrong: none.
  [[nodiscard]] const std::optional<std::string>& violation() const { return violation_; }
  // What the last step did, in words.
  [[nodiscard]] const std::string& last() const { return last_; }
  [[nodiscard]] std::string setup() const;
  [[nodiscard]] std::uint64_t content_digest() const;
  // Called when nothing gets on: a wait that does not end. It must not return.
  std::function<void()> on_hang;

 private:
  World(std::uint64_t seed, Break broken, Tally& tally);

  // world.cc
  [[nodiscard]] Result<void> build();
  [[nodiscard]] Result<void> plug(const std::string& name, bool is_drive, bool has_memory);
  void choose_layout();
  [[nodiscard]] Outcome dispatch(Kind kind);
  void let_pass();
  void check();
  bool watch();  // in the middle of every wait
  void blame(std::string what);
  template <class... Args>
  void say(fmt::format_string<Args...> words, Args&&... args) {
    fmt::format_to(std::back_inserter(last_), " ");
    fmt::format_to(std::back_inserter(last_), words, std::forward<Args>(args)...);
  }
  [[nodiscard]] std::uint32_t below(std::uint64_t bound) { return static_cast<std::uint32_t>(chance_.below(bound)); }
  [[nodiscard]] Cells some_cells(Cells within, std::uint32_t most);
  [[nodiscard]] Duration some_deadline();

  // units.cc
  void bring_up(std::uint32_t unit);
  [[nodiscard]] Result<void> start(std::uint32_t unit);
  void take_down(std::uint32_t unit);
  void stop_endpoint(std::uint32_t unit);
  void drive(std::uint32_t unit);  // what the importer does when it is waited for
  void was_wiped(std::uint32_t unit);
  [[nodiscard]] std::optional<std::uint32_t> some_unit(const std::function<bool(const Unit&)>& fits);
  [[nodiscard]] std::optional<Local> local_of(const Unit& unit) const;
  [[nodiscard]] Outcome unplug();
  [[nodiscard]] Outcome link_down();
  [[nodiscard]] Outcome bring_back();
  [[nodiscard]] Outcome change_mood();
  [[nodiscard]] bool is_guarded(const Unit& importer, std::uint32_t exporter) const;

  // consent.cc
  [[nodiscard]] Answer decide(std::uint32_t unit, const Request& request);
  [[nodiscard]] Outcome change_consent();

  // memory_operations.cc
  [[nodiscard]] Outcome allocate();
  [[nodiscard]] Outcome map();
  [[nodiscard]] Outcome drop_mapping();
  [[nodiscard]] Outcome take_lease();
  [[nodiscard]] Outcome drop_lease();
  [[nodiscard]] Outcome cpu(bool writes);
  [[nodiscard]] Outcome forged_id();
  [[nodiscard]] Outcome stale_lease();
  [[nodiscard]] SharedRegion* some_region();
  [[nodiscard]] SharedRegion* some_busy_region();
  void await_midway(std::uint64_t region);
  [[nodiscard]] SharedRegion* region_of(std::uint64_t serial);
  [[nodiscard]] SharedMapping* some_mapping();
  [[nodiscard]] std::expected<Mapping, peer::NotMapped> try_map(std::uint32_t importer, SharedRegion& region,
                                                                const MapOptions& options);
  void check_mapping(const SharedRegion& region, std::uint32_t importer, const MapOptions& options,
                     const Mapping& mapping);

  // taking_back.cc
  enum class How : std::uint8_t { invalidate, revoke, revoke_all, drop, withdraw };
  [[nodiscard]] Outcome take_back(How how);
  void take_back(How how, SharedRegion& region, Duration deadline);
  void take_back_all(How how, std::uint32_t unit, Duration deadline);
  void remove_importer(std::uint32_t unit, Duration deadline);
  // What is to be seen when a revocation of what `concerns` has returned.
  struct Before {
    std::uint32_t may_be_late = 0;  // bits, by unit
  };
  using Concerns = std::function<bool(std::uint64_t region, std::uint32_t importer)>;
  [[nodiscard]] Before before(const Concerns& concerns) const;
  // `report` is null where nobody gets one.
  void after(const Before& before, const Concerns& concerns, const RevokeReport* report);
  void check_report(const Before& before, std::uint32_t keeping, const RevokeReport& report);
  void close(const Concerns& concerns);
  void check_isolation(const Transfer& transfer, const Part& part);
  void cut_off(Transfer& transfer, Part& part);
  void count_cut_off(std::span<const std::byte> now, std::span<const std::byte> old, std::span<const std::byte> wanted);
  [[nodiscard]] std::uint32_t keeping(const Concerns& concerns) const;

  // transfers.cc
  [[nodiscard]] Outcome transfer(machine::Direction direction);
  [[nodiscard]] Outcome host_transfer(machine::Direction direction);
  [[nodiscard]] Outcome rogue();
  [[nodiscard]] bool is_rogue_possible(const StaleAddress& by) const;
  [[nodiscard]] Outcome rogue(const StaleAddress& by, machine::Direction direction);
  void check_rogue(const Unit& unit, std::uint64_t faults_before);
  [[nodiscard]] Outcome wrong_access();
  [[nodiscard]] Transfer* begin(std::uint32_t unit, machine::Direction direction, Cells local);
  [[nodiscard]] bool add_part(Transfer& transfer, Part part);
  [[nodiscard]] bool submit(Transfer& transfer);
  void poll(std::uint32_t unit);
  void finish(Transfer& transfer, bool is_done);
  void finish_part(Transfer& transfer, Part& part, Cells local, bool is_done);
  void cancel(std::uint32_t unit);
  void finish_cut_off(const Transfer& transfer, const Part& part, Cells local, bool is_done);
  void abandon(Transfer& transfer);
  void release(Transfer& transfer);
  [[nodiscard]] std::optional<Part> part_of(SharedMapping& mapping, std::uint32_t most);
  [[nodiscard]] std::optional<Part> part_of_host(std::uint32_t unit, std::uint32_t cells, bool is_written);
  [[nodiscard]] bool is_known_address(std::uint32_t unit, DmaSegment at) const;
  [[nodiscard]] std::uint32_t unit_of_memory(std::uint32_t place) const;

  // copies.cc
  [[nodiscard]] Outcome start_copy();
  [[nodiscard]] bool start_by_peer(std::uint32_t index);
  [[nodiscard]] bool start_leg(std::uint32_t index, Leg leg);
  [[nodiscard]] std::optional<Part> part_of_copy(Copy& copy, Leg leg);
  void go_on(std::uint32_t index, bool is_done);  // a leg has ended
  void fall_back(Copy& copy, peer::FallbackReason reason);
  void look_after_copies();
  void look_after(std::uint32_t index);
  void arrived(Copy& copy, std::uint64_t& counter);
  void end_copy(Copy& copy);

  base::Random chance_;
  base::Random mishaps_;  // of watch(): apart, so that a machine that waits longer does the same things
  const std::uint64_t seed_;
  const Break broken_;
  Tally& tally_;
  Layout layout_;
  std::optional<std::string> violation_;
  std::string last_;
  std::uint64_t steps_ = 0;
  std::uint64_t serial_ = 0;
  std::uint64_t visits_ = 0;   // of watch(), since the step began
  std::uint64_t flip_at_ = 0;  // Break::byte_flips: at which step
  std::uint64_t answers_ = 0;  // of owners
  Answer::Kind last_answer_ = Answer::Kind::direct;
  MemoryRange last_range_;          // that was asked about
  std::uint64_t asked_within_ = 0;  // regions invalidated by their owner while it was asked

  std::vector<Place> places_;
  std::unique_ptr<fabric::Fabric> fabric_;
  std::vector<Unit> units_;
  std::unique_ptr<peer::Exchange> exchange_;
  std::optional<std::uint32_t> link_down_at_;  // the unit; one at a time
  base::TimePoint link_returns_{};

  std::array<SharedRegion, kMaxRegions> regions_;
  std::array<SharedMapping, kMaxSimMappings> mappings_;
  std::array<LooseLease, kMaxLooseLeases> leases_;
  std::array<Transfer, kMaxTransfers> transfers_;
  std::array<StaleAddress, kMaxStale> stale_;
  std::size_t stale_count_ = 0;
  std::array<Copy, kMaxCopies> copies_;
};

}  // namespace barter::sim
