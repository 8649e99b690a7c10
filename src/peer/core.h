// The tables behind an Exchange: devices, regions, mappings, routes. It outlives the Exchange as long as a handle needs it.
//
// One lock guards everything but the word of each mapping (mapping.h). It is never held while code behind a seam runs;
// instead the device that is called is counted as busy, and whoever takes the device out waits for that.
// Whoever calls a member function holds a share of the Core, because the last mapping may give its own share back meanwhile.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "peer/counters.h"
#include "peer/exchange.h"
#include "peer/mapping.h"
#include "peer/pointers.h"
#include "peer/pool.h"
#include "peer/region.h"

namespace barter::peer {

inline constexpr std::size_t kMaxExporters = 4096;
inline constexpr std::size_t kMaxImporters = 4096;
inline constexpr std::size_t kMappingsInChunk = 256;
inline constexpr std::size_t kMappingChunks = 256;
inline constexpr std::size_t kMaxMappings = kMappingsInChunk * kMappingChunks;
inline constexpr std::size_t kMaxRememberedRoutes = 65536;
inline constexpr std::size_t kMaxParts = 4096;

// A mapping as it was at some moment. Its place may be another's by now, which the generation tells.
struct Taken {
  MappingState* mapping = nullptr;
  std::uint32_t generation = 0;
};

struct ImporterState {
  Importer* importer = nullptr;
  Bdf function;
  std::uint32_t busy = 0;       // calls into its code
  std::uint32_t in_domain = 0;  // of those, calls of DmaDomain::map that no mapping stands for yet
  bool going = false;
  bool isolated = false;
  std::vector<Taken> late;  // what an IOMMU had to take from under its leases, as long as one of these may live
};

struct ExporterState {
  ExporterState(Exporter& of, Bdf at, BusAddress start, std::uint64_t bytes)
      : exporter(&of), function(at), pool(start, bytes) {}
  Exporter* exporter;
  Bdf function;
  Pool pool;
  std::uint32_t busy = 0;
  bool going = false;
  std::uint64_t pinned_bytes = 0;
  std::vector<RegionState*> regions;
};

class Core : public std::enable_shared_from_this<Core> {
 public:
  using Lock = std::unique_lock<std::mutex>;

  Core(base::Clock& clock, RouteRule rule) : clock_(clock), rule_(std::move(rule)) {}

  // core.cc: devices, regions, counters.
  [[nodiscard]] Result<void> add(Exporter& exporter);
  [[nodiscard]] Result<void> add(Importer& importer);
  [[nodiscard]] Result<void> add(Interconnect& interconnect);
  [[nodiscard]] Result<Region> allocate(Exporter& exporter, std::uint64_t bytes, std::uint64_t alignment);
  void readmit(Importer& importer);
  [[nodiscard]] PeerCounters counters();
  void shut();
  void release(RegionState& region);
  [[nodiscard]] std::span<std::byte> cpu_bytes(RegionState& region);
  [[nodiscard]] bool is_revoked(const RegionState& region) const;
  void limit_pins(RegionState& region, std::optional<std::uint64_t> bytes);
  [[nodiscard]] Pointers& pointers() { return pointers_; }

  // map.cc: making a mapping.
  [[nodiscard]] std::expected<Mapping, NotMapped> map(Importer& importer, RegionState& region,
                                                      const MapOptions& options, std::optional<DmaAddress> at = {});
  [[nodiscard]] Result<Lease> lease(MappingId id);

  // consent.cc: the owner's answers, part by part.
  [[nodiscard]] std::expected<std::vector<MappedPart>, NotMapped> map_parts(Importer& importer, RegionState& region,
                                                                            const MapOptions& options);

  // routes.cc: what the rule says, and interconnects.cc: what others say beside it.
  [[nodiscard]] RouteAnswer route(Bdf client, Bdf provider);
  [[nodiscard]] RouteAnswer route_by_pcie(Bdf client, Bdf provider);
  [[nodiscard]] std::vector<InterconnectAnswer> ask_interconnects(Bdf client, Bdf provider);
  [[nodiscard]] RouteChoice choose_route(Bdf client, Bdf provider, Access access);
  void routes_changed();
  [[nodiscard]] Result<ProviderChoice> nearest_provider(std::span<const Bdf> clients, const ProviderNeeds& needs);

  // take_back.cc: unmapping, by consent or by force.
  // `part` is of the exporter's memory; without bytes, all of the region is taken back.
  [[nodiscard]] Result<RevokeReport> take_back(RegionState& region, bool for_good, RevokeOptions options,
                                               MemoryRange part = {});
  [[nodiscard]] Result<RevokeReport> revoke_all(Exporter& exporter, RevokeOptions options);
  [[nodiscard]] Result<RevokeReport> withdraw(Exporter& exporter, RevokeOptions options);
  [[nodiscard]] Result<RevokeReport> remove(Importer& importer, RevokeOptions options);
  void end_closed_lease(MappingState& mapping);
  void end_closed_seat(MappingState& mapping);
  void drop_handle(MappingState& mapping);

 private:
  struct PairHash {
    std::size_t operator()(const std::pair<Bdf, Bdf>& pair) const {
      return std::hash<Bdf>{}(pair.first) * 0x9e3779b97f4a7c15 + std::hash<Bdf>{}(pair.second);
    }
  };
  struct Attempt;
  struct Sought;
  struct TakeBack;

  // map.cc; each step of map() says why it fails, or nothing.
  [[nodiscard]] std::expected<Mapping, NotMapped> try_map(Attempt& attempt);
  [[nodiscard]] std::optional<NotMapped> admit(Attempt& attempt);
  [[nodiscard]] std::optional<NotMapped> judge(Attempt& attempt);
  [[nodiscard]] static std::string also(const Attempt& attempt, std::string why);
  [[nodiscard]] std::optional<NotMapped> ask_hardware(Attempt& attempt);
  [[nodiscard]] std::optional<NotMapped> pin(Attempt& attempt);
  [[nodiscard]] std::optional<NotMapped> find_address(Attempt& attempt);
  [[nodiscard]] static std::optional<NotMapped> check_address(const Attempt& attempt);
  [[nodiscard]] std::optional<NotMapped> publish(Attempt& attempt);
  [[nodiscard]] std::optional<NotMapped> check_current(const Attempt& attempt);
  void undo(Attempt& attempt);
  static void leave_domain(const Attempt& attempt);
  void unpin(RegionState& region, ExporterState& exporter, std::uint64_t bytes);
  [[nodiscard]] std::unexpected<NotMapped> give_up(Attempt& attempt, NotMapped failed);
  [[nodiscard]] MappingState* take_slot();

  // consent.cc
  [[nodiscard]] static Request request_for(const Attempt& attempt);
  [[nodiscard]] static Answer ask(const Attempt& attempt, const Request& request);
  [[nodiscard]] static NotMapped refusal_by_owner(const Attempt& attempt, const Answer& answer);
  [[nodiscard]] static NotMapped too_many_parts(const Attempt& attempt);
  [[nodiscard]] std::optional<NotMapped> ask_owner(Attempt& attempt);
  [[nodiscard]] std::expected<MappedPart, NotMapped> map_first_part(Importer& importer, RegionState& region,
                                                                    const MapOptions& options,
                                                                    std::optional<std::uint64_t>& epoch);
  [[nodiscard]] std::expected<MappedPart, NotMapped> try_map_first_part(Attempt& attempt,
                                                                        std::optional<std::uint64_t>& epoch);
  static void tell_unmapped(Exporter& exporter, Request granted, std::span<const MemoryRange> parts);
  void tell_owner(Lock& lock, MappingState& mapping);

  // interconnects.cc
  struct Joined {
    std::size_t place = 0;  // in interconnects_
    Interconnect::Answer answer;
  };
  [[nodiscard]] std::optional<Joined> find_interconnect(Bdf client, Bdf provider,
                                                        std::string* why_down = nullptr) const;
  void choose_interconnect(Attempt& attempt);
  [[nodiscard]] std::optional<NotMapped> open_way(Attempt& attempt);
  [[nodiscard]] std::optional<NotMapped> place_way(Attempt& attempt);
  void close_way(Attempt& attempt);

  // routes.cc
  [[nodiscard]] const RouteAnswer& route(Lock& lock, Bdf client, Bdf provider);
  [[nodiscard]] std::vector<Sought> candidates(std::uint64_t bytes) const;

  // take_back.cc
  void collect(RegionState& region, bool for_good, TakeBack& work, MemoryRange part = {});
  void close(MappingState& mapping);
  [[nodiscard]] bool is_idle(MappingState& mapping);
  void add_taken(MappingState& mapping, TakeBack& work);
  [[nodiscard]] static std::optional<Error> why_pinned(const RegionState& region, MemoryRange part);
  [[nodiscard]] Result<RevokeReport> run(TakeBack& work, RevokeOptions options);
  void await_leases(TakeBack& work, RevokeOptions options);
  [[nodiscard]] bool settled(TakeBack& work);
  void make_progress(TakeBack& work);
  void cut_off(const Taken& taken, TakeBack& work);
  void unmap(Lock& lock, MappingState& mapping, TakeBack* work);
  void forget_address(Lock& lock, MappingState& mapping, TakeBack* work);
  void forget_in_domain(Lock& lock, MappingState& mapping, TakeBack* work);
  void close_way(Lock& lock, MappingState& mapping, TakeBack* work);
  void isolate(Lock& lock, MappingState& mapping, TakeBack* work);
  void finish(MappingState& mapping);
  void recycle_if_free(MappingState& mapping);
  void end_if_idle(Lock& lock, MappingState& mapping);
  void leave_note(MappingState& mapping);
  void look_after_left(Lock& lock);
  [[nodiscard]] static bool is_current(const Taken& taken);
  [[nodiscard]] bool is_late(ImporterState& importer);
  // Waits, with no deadline, for what another thread is about to do. Lets the lock go meanwhile.
  template <class Done>
  void wait(Lock& lock, Done done) {
    lock.unlock();
    static_cast<void>(base::wait_until(clock_, base::TimePoint::max(), [&] {
      Lock look(mutex_);
      return done();
    }));
    lock.lock();
  }

  [[nodiscard]] ImporterState* find(const Importer& importer);
  [[nodiscard]] ExporterState* find(const Exporter& exporter);
  // The region counts no more: its exporter's list forgets it.
  static void unlist(RegionState& region);

  base::Clock& clock_;
  const RouteRule rule_;
  // Filled from the start, and never emptied: it is read without the lock.
  std::array<std::atomic<Interconnect*>, kMaxInterconnects> interconnects_{};
  Pointers pointers_;  // has a lock of its own

  mutable std::mutex mutex_;
  std::unordered_map<const Importer*, std::unique_ptr<ImporterState>> importers_;
  std::unordered_map<const Exporter*, std::unique_ptr<ExporterState>> exporters_;
  std::unordered_map<std::pair<Bdf, Bdf>, RouteAnswer, PairHash> routes_;
  std::uint64_t routes_epoch_ = 0;
  std::unordered_map<const MappingState*, std::vector<MemoryRange>> parts_;  // of mappings granted in more than one
  std::unordered_map<const MappingState*, LinkAddress>
      placed_links_;  // what the domain hides of ways by an interconnect
  PeerCounters counters_;
  std::uint32_t fences_ = 0;  // heavy ones, for the seats of mappings that were closed; may wrap around
  std::vector<Taken> left_;   // closed while somebody sat in the seat, who may not see that
  std::uint32_t first_free_ = kNoSlot;
  std::uint32_t slots_made_ = 0;
  static constexpr std::uint32_t kNoSlot = 0xffffffff;

  // Chunks come as they are needed and stay, so that an id can be looked up without a lock.
  std::array<std::atomic<MappingState*>, kMappingChunks> chunk_at_{};
  std::vector<std::unique_ptr<MappingState[]>> chunks_;
};

}  // namespace barter::peer
