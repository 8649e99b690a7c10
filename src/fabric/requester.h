// A function's way onto the bus: Requester as the fabric implements it.
//
// The device's thread is the only one that reads, writes and runs. Other threads change the machine under it, and some of
// them must know that no byte moves by the old answers once they return. docs/memory-order.md, rule 6, tells how `epoch_`
// and `access_` see to that.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/random.h"
#include "fabric/device.h"
#include "fabric/range_cache.h"
#include "fabric/route.h"
#include "fabric/translation_cache.h"

namespace barter::fabric {

class System;
struct Node;

struct Counters;

class FunctionRequester final : public Requester {
 public:
  FunctionRequester(System& system, Node& node);

  [[nodiscard]] Completion read(DmaAddress from, std::span<std::byte> into) override;
  [[nodiscard]] Completion write(DmaAddress to, std::span<const std::byte> from) override;
  [[nodiscard]] Run run(DmaAddress at, std::uint64_t bytes, Access access) override;
  void interrupt(unsigned vector) override;
  void windows_changed() override;
  [[nodiscard]] bool may_master() const override;
  [[nodiscard]] std::optional<BusAddress> bar_address(unsigned index) const override;

  [[nodiscard]] Node& node() const { return node_; }
  // For the runner, after each step of the device: a run that was handed out ends here at the latest.
  void end_access();

  // For whoever changes the machine. forget() makes every answer so far stale; System's mutex is held.
  void forget() { epoch_.fetch_add(1, std::memory_order_seq_cst); }
  // After forget(), with no lock held: returns when the access that was under way is over.
  void wait_until_idle() const;

  // For interrupts and counters; System's mutex is held.
  [[nodiscard]] Route& route_for(const Resolution& resolution, Access access);
  // A message of MSI-X: a write of 4 bytes, to an interrupt controller or to memory. Any thread.
  Completion send_message(std::uint64_t address, std::uint32_t data);
  template <class Visit>
  void for_each_route(Visit&& visit) const {
    for (const auto& route : routes_) visit(*route);
    for (const auto& route : message_routes_) visit(*route);
  }
  // Adds the faults that have struck its reads. Any thread.
  void add_injected(Counters& sum) const;
  [[nodiscard]] std::uint64_t epoch() const { return epoch_.load(std::memory_order_relaxed); }

  // For BARs and Command that the device asks about at any time, and for ATS.
  void publish_configuration();

  // Address Translation Services (ats.cc). Is it enabled? Any thread.
  [[nodiscard]] bool uses_ats() const { return uses_ats_.load(std::memory_order_acquire); }
  // System's mutex is held, from here on.
  void drop_translations(Span range);
  [[nodiscard]] bool knows_any(Span range) const;
  // Would a request that goes by a translation of these addresses arrive, as things are?
  [[nodiscard]] bool still_reaches(Span range) const;

 private:
  void begin_access();
  // Null: `failure_` says why.
  [[nodiscard]] const CachedRange* find(std::uint64_t address, Access access);
  [[nodiscard]] const CachedRange* find_anew(std::uint64_t address, Access access);
  [[nodiscard]] Resolution find_way(std::uint64_t address, Access access);
  void publish_ats();
  [[nodiscard]] Completion inject_fault();
  [[nodiscard]] Completion read_elsewhere(const CachedRange& range, std::uint64_t address, std::span<std::byte> into);
  [[nodiscard]] Completion write_elsewhere(const CachedRange& range, std::uint64_t address,
                                           std::span<const std::byte> from);

  System& system_;
  Node& node_;
  const bool threaded_;
  const bool faulty_;
  base::Random chance_;
  std::atomic<std::uint64_t> lost_ = 0;  // faults that struck
  std::atomic<std::uint64_t> poisoned_ = 0;
  std::atomic<std::uint64_t> late_ = 0;

  std::atomic<std::uint64_t> epoch_ = 1;   // moved by others
  std::atomic<std::uint64_t> access_ = 0;  // odd: an access is under way
  std::uint64_t cached_epoch_ = 0;         // what the caches were filled under; the device's thread only
  Completion failure_ = Completion::successful;
  RangeCache reads_;
  RangeCache writes_;
  std::vector<std::unique_ptr<Route>> routes_;          // written under the mutex, counted on by the device's thread
  std::vector<std::unique_ptr<Route>> message_routes_;  // any thread, under the mutex

  // Where the last message went.
  struct MessageWay {
    std::uint64_t epoch = 0;
    std::uint64_t address = 0;
    Route* route = nullptr;
    std::byte* memory = nullptr;
    bool is_interrupt = false;
  } message_way_;

  std::unique_ptr<TranslationCache> translations_;  // null: the function has no ATS
  std::atomic<bool> uses_ats_ = false;
  std::atomic<bool> may_master_ = false;
  std::array<std::atomic<std::uint64_t>, 6> bar_addresses_{};  // 0: not enabled
};

}  // namespace barter::fabric
