// One simulated machine: drives, accelerators and a DMA engine that share memory, transfers in flight, owners that change their minds, and
// things that go wrong. Each step does one random thing and then compares every byte with the shadow.
//
// The files: build.cc builds it, world.cc steps, units.cc brings devices up and down, links.cc is what joins accelerators, transfers.cc starts transfers and
// endings.cc sees what came of them, rogues.cc is who has no right, copies.cc chains transfers, managed_operations.cc and managed_moves.cc are managed memory, memory_operations.cc, pins.cc,
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
#include "managed.h"
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
  [[nodiscard]] Result<void> start_far();
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
  static void store(Place& place, Cells cells, std::uint64_t noise);
  [[nodiscard]] Outcome forged_id();
  [[nodiscard]] Outcome stale_lease();
  [[nodiscard]] SharedRegion* some_region();
  [[nodiscard]] SharedRegion* some_busy_region();
  [[nodiscard]] SharedRegion* region_of(std::uint64_t serial);
  [[nodiscard]] SharedMapping* some_mapping();
  [[nodiscard]] std::expected<Mapping, peer::NotMapped> try_map(std::uint32_t importer, SharedRegion& region,
                                                                const MapOptions& options);
  void check_mapping(const SharedRegion& region, std::uint32_t importer, const MapOptions& options,
                     const Mapping& mapping);

  // pins.cc
  [[nodiscard]] Outcome limit_pins();
  void hold_pinned(peer::MappingId id, std::uint64_t region, std::uint32_t region_unit, Cells cells);
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
  void await_midway(const Concerns& concerns);
  [[nodiscard]] Moment moment_of(const Transfer& transfer, const Part& part) const;
  [[nodiscard]] std::uint32_t keeping(const Concerns& concerns);

  // transfers.cc
  [[nodiscard]] Outcome transfer(machine::Direction direction);
  [[nodiscard]] Outcome launch(std::uint32_t unit, machine::Direction direction, End end, std::optional<End> second);
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

  // managed_moves.cc
  struct Spot {
    std::uint32_t place = 0;
    Cells cells;
    const peer::Exporter* in = nullptr;  // of a device
  };
  [[nodiscard]] Result<void> make_managed();
  [[nodiscard]] Spot spot_of(const peer::PageBytes& bytes) const;
  [[nodiscard]] std::optional<peer::PageRun> pages_at(const Spot& spot) const;
  [[nodiscard]] bool is_there(const ManagedPage& page) const;
  [[nodiscard]] Concerns of_pages(peer::PageRun pages);
  void before_move(const peer::PageBytes& from, const peer::PageBytes& to);
  void after_move(const peer::PageBytes& from, const peer::PageBytes& to);
  [[nodiscard]] bool is_in_use(const Spot& spot) const;
  void look_at_pages();
  void look_at_page(std::uint32_t number, const Residence& now);
  void pages_were_lost(MemoryRange range, const Error& why);
  [[nodiscard]] bool are_pinned(peer::PageRun pages);
  void count_pages_to_move(peer::PageRun pages, std::optional<std::uint32_t> to);
  [[nodiscard]] HeldPart& held_part(std::uint64_t serial);
  void end_managed();
  void between_turns();

  // managed_operations.cc
  [[nodiscard]] peer::PageRun some_pages();
  [[nodiscard]] Outcome move_pages();
  [[nodiscard]] Outcome touch_page();
  [[nodiscard]] Outcome touch(std::uint32_t page, bool writes);
  void access_page(std::uint32_t page, bool writes);
  void go_on_touching(bool all);
  [[nodiscard]] Outcome map_pages();
  void hold_part(ManagedHold& hold, const ManagedPart& part);
  void drop_hold(ManagedHold& hold);
  [[nodiscard]] bool is_of_use(const HeldPart& part);
  [[nodiscard]] Outcome drop_pages();
  [[nodiscard]] Outcome transfer_pages(machine::Direction direction);
  [[nodiscard]] Outcome transfer_pages(const ManagedHold& hold, std::uint32_t part, machine::Direction direction);
  [[nodiscard]] peer::PageRun some_busy_pages();
  [[nodiscard]] Outcome renew_pages();

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
  void let_go_of_staging(Copy& copy);

  // Of the library's waits: between two turns of the machine, the program goes on.
  class WatchedClock final : public base::Clock {
   public:
    explicit WatchedClock(World& world) : world_(world) {}
    [[nodiscard]] base::TimePoint now() const override { return world_.fabric_->clock().now(); }
    void idle() override {
      world_.fabric_->clock().idle();
      world_.between_turns();
    }

   private:
    World& world_;
  };

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
  std::unique_ptr<drivers::nic::Nic> far_;  // at the other end of the NIC's wire
  std::vector<Unit> units_;
  WatchedClock clock_;
  Links links_;
  std::vector<std::unique_ptr<LastingExporter>> exporters_;
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

  std::shared_ptr<peer::ManagedPages> managed_;  // null: this machine has none
  SteppedFaults* faults_ = nullptr;              // of it
  std::uint32_t managed_place_ = 0;              // of its pages in the host
  std::array<ManagedPage, kManagedPages> pages_;
  std::array<ManagedHold, kMaxHolds> holds_;
  std::vector<HeldPart> held_;
  std::vector<WaitingTouch> waiting_;
  bool is_touching_ = false;
  std::optional<peer::PageRun> under_way_;  // pages that are to move now
  std::uint64_t touches_ = 0;
  std::uint64_t late_importers_ = 0;  // that the managed memory had counted
  How moving_ = How::move;            // why pages move
};

}  // namespace barter::sim
