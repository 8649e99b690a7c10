// One simulated machine: drives, accelerators and a DMA engine that share memory, transfers in flight, owners that change their minds, and
// things that go wrong. Each step does one random thing and then compares every byte with the shadow.
//
// The files: build.cc builds it, world.cc steps, units.cc brings devices up and down, links.cc is what joins accelerators, transfers.cc starts transfers and
// endings.cc sees what came of them, rogues.cc is who has no right, copies.cc chains transfers, memory_operations.cc, pins.cc,
// consent.cc and taking_back.cc do what owners and importers do.
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
#include "links.h"
#include "machine/endpoint.h"
#include "peer/exchange.h"
#include "peer/fallback.h"
#include "state.h"
#include "tally.h"
#include "unit.h"

namespace barter::sim {

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

  // build.cc
  [[nodiscard]] Result<void> build();
  [[nodiscard]] Result<void> plug(const std::string& name, machine::UnitKind kind, bool has_memory);
  void choose_layout();

  // world.cc
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
  void stop_carrier(std::uint32_t unit);
  void drive(std::uint32_t unit);  // what the importer does when it is waited for
  void was_wiped(std::uint32_t unit);
  [[nodiscard]] std::optional<std::uint32_t> some_unit(const std::function<bool(const Unit&)>& fits);
  [[nodiscard]] std::optional<Local> local_of(const Unit& unit) const;
  [[nodiscard]] End own_end(const Unit& unit, Cells cells) const;
  [[nodiscard]] Outcome unplug();
  [[nodiscard]] Outcome link_down();
  void drop_link(base::Random& chance);
  [[nodiscard]] Outcome bring_back();
  [[nodiscard]] Outcome change_mood();
  [[nodiscard]] bool is_guarded(Route route) const;

  // links.cc
  [[nodiscard]] Outcome break_link();
  void break_wire(base::Random& chance);
  void set_wire(bool works);
  [[nodiscard]] static bool is_by_link(const Transfer& transfer);

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

  // pins.cc
  [[nodiscard]] Outcome limit_pins();
  void hold_pinned(const SharedMapping& mapping);
  void forget_ended_pins();
  [[nodiscard]] bool is_held(const Pin& pin) const;
  [[nodiscard]] bool is_pinned(std::uint64_t region);
  [[nodiscard]] std::optional<std::string> why_not_pinned(const SharedRegion& region, const MapOptions& options);
  void check_refused_pin(const std::optional<std::string>& why_not, const peer::NotMapped& refused, bool was_asked);
  void check_pins();

  // taking_back.cc
  [[nodiscard]] Outcome take_back(How how);
  // False: it is pinned, and nothing has happened.
  bool take_back(How how, SharedRegion& region, Duration deadline);
  void take_back_all(How how, std::uint32_t unit, Duration deadline);
  void remove_importer(std::uint32_t unit, Duration deadline);
  // What is to be seen when a revocation of what `concerns` has returned.
  struct Before {
    How how = How::revoke;
    std::uint32_t may_be_late = 0;  // bits, by unit
  };
  using Concerns = std::function<bool(std::uint64_t region, std::uint32_t importer)>;
  [[nodiscard]] Before before(How how, const Concerns& concerns);
  // `report` is null where nobody gets one.
  void after(const Before& before, const Concerns& concerns, const RevokeReport* report);
  void check_report(const Before& before, std::uint32_t keeping, const RevokeReport& report);
  void close(const Concerns& concerns);
  void check_isolation(const Transfer& transfer, const End& end);
  void cut_off(How how, Transfer& transfer, End& end);
  void cut_off(How how, const Transfer& transfer, Part& part, bool is_source);
  [[nodiscard]] Moment moment_of(const Transfer& transfer, const Part& part) const;
  [[nodiscard]] std::uint32_t keeping(const Concerns& concerns);

  // transfers.cc
  [[nodiscard]] Outcome transfer(machine::Direction direction);
  [[nodiscard]] Outcome host_transfer(machine::Direction direction);
  [[nodiscard]] Transfer* begin(std::uint32_t unit, machine::Direction direction, End local);
  [[nodiscard]] bool add_part(Transfer& transfer, Part part);
  [[nodiscard]] bool submit(Transfer& transfer);
  void abandon(Transfer& transfer);
  [[nodiscard]] std::optional<End> end_of(SharedMapping& mapping, Cells cells);
  [[nodiscard]] std::optional<End> local_end(std::uint32_t unit, machine::Direction direction, std::uint32_t cells);
  [[nodiscard]] std::optional<End> end_elsewhere(std::uint32_t unit, machine::Direction direction, std::uint32_t cells);
  [[nodiscard]] std::optional<End> end_at_host(std::uint32_t unit, std::uint32_t cells, bool is_written);

  // endings.cc
  void poll(std::uint32_t unit);
  void finish(Transfer& transfer, bool is_done);
  void finish_part(const Transfer& transfer, const Part& part, bool is_done);
  void let_go(const Transfer& transfer);
  void cancel(std::uint32_t unit);
  [[nodiscard]] std::span<const std::byte> wanted(const Flow& flow, const Part& part) const;

  // rogues.cc
  [[nodiscard]] Outcome rogue();
  [[nodiscard]] bool is_rogue_possible(const StaleAddress& by) const;
  [[nodiscard]] Outcome rogue(const StaleAddress& by, machine::Direction direction);
  void check_rogue(const Unit& unit, std::uint64_t faults_before);
  [[nodiscard]] Outcome wrong_access();
  // By anything but one mapping, if its id is given.
  [[nodiscard]] bool is_known_address(std::uint32_t unit, DmaSegment at, std::optional<peer::MappingId> except = {});

  // copies.cc
  [[nodiscard]] Outcome start_copy();
  [[nodiscard]] bool start_by_peer(std::uint32_t index);
  [[nodiscard]] bool start_leg(std::uint32_t index, Leg leg);
  [[nodiscard]] std::optional<End> end_of_copy(Copy& copy, Leg leg);
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
  std::uint64_t told_ = 0;          // importers, that they should let go
  std::vector<Pin> pins_;

  std::vector<Place> places_;
  std::unique_ptr<fabric::Fabric> fabric_;
  std::vector<Unit> units_;
  Links links_;
  std::unique_ptr<peer::Exchange> exchange_;
  std::optional<std::uint32_t> link_down_at_;  // the unit; one at a time
  base::TimePoint link_returns_{};
  std::optional<base::TimePoint> wire_returns_;  // between the accelerators; none: it works

  std::array<SharedRegion, kMaxRegions> regions_;
  std::array<SharedMapping, kMaxSimMappings> mappings_;
  std::array<LooseLease, kMaxLooseLeases> leases_;
  std::array<Transfer, kMaxTransfers> transfers_;
  std::array<StaleAddress, kMaxStale> stale_;
  std::size_t stale_count_ = 0;
  std::array<Copy, kMaxCopies> copies_;
};

}  // namespace barter::sim
