// Managed memory: a range of the process's memory whose pages live in host memory or in devices, and move while others use
// them. What stands behind barter/managed.hpp.
//
// A page's life:
//
//   host     the program touches it as ever, and importers reach it in host memory
//   moving   some thread moves it. Closed: a touch waits until it is over
//   device   closed; the bytes are in a device, importers reach them there, and the next touch brings the page back
//   lost     its device left with it. A touch ends in SIGBUS, until the program takes a new page (renew)
//
// A page moves in this order: it is marked as moving; it is closed, so that no access of the program is under way; its
// mappings are taken back, and leases drained or cut off; its bytes are copied; its old place is given up; it is what it is
// to be, opened if that is host memory, and who waited looks again. At every moment one place holds the page, and what
// anybody wrote is there.
//
// Threads: any. The lock is never held while code behind a seam runs but for FaultSource::open, which waits for nobody.
// Nothing in here touches the program's own bytes: a thread that did so could wait for itself.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "barter/managed.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "base/clock.h"
#include "peer/device_pages.h"
#include "peer/exchange.h"
#include "peer/fault_source.h"
#include "peer/host_pages.h"
#include "peer/page_mover.h"

namespace barter::peer {

inline constexpr std::size_t kMaxManagedDevices = 256;
inline constexpr std::uint32_t kMaxPagesInMove = 512;  // as many as wait for one another at a time
inline constexpr std::uint64_t kPagesOpenedAround = 16;

struct ManagedSetup {
  Exchange& exchange;  // outlives the pages
  base::Clock& clock;  // so does this
  std::unique_ptr<FaultSource> faults;
  HostPlace place;                                           // of the bytes behind
  std::unique_ptr<PageMover> mover;                          // null: the CPU
  Duration touch_deadline = std::chrono::milliseconds(100);  // for importers of a page that is touched
  // Told once of pages whose bytes are gone, and why; on any thread, with no lock held, and must not touch them.
  std::function<void(MemoryRange, const Error&)> on_lost;
};

class ManagedPages : public std::enable_shared_from_this<ManagedPages> {
 public:
  [[nodiscard]] static Result<std::shared_ptr<ManagedPages>> create(ManagedSetup setup);
  // No thread touches the memory any more. Mappings may outlive it: they are revoked.
  ~ManagedPages();
  ManagedPages(const ManagedPages&) = delete;
  ManagedPages& operator=(const ManagedPages&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const { return faults_->program_bytes(); }
  [[nodiscard]] bool kernel_touches_wait() const { return faults_->kernel_touches_wait(); }

  // Moves whole pages: those that the range touches. An error says how far it came; every page is then where it was or where
  // it was to go. Pages that are there already stay. `device` outlives this object: it is asked for its name when its pages are
  // long lost.
  [[nodiscard]] Result<void> move_to(Exporter& device, MemoryRange range, Duration deadline);
  [[nodiscard]] Result<void> move_to_host(MemoryRange range, Duration deadline);

  // The right for an importer's DMA to reach a range, wherever its pages are: device pages direct, if the device's owner and
  // the route allow it; else they move to host memory first. Pinned memory is in host memory. `at`: where the importer is to
  // see the range, as one piece, if its domain lets the caller choose that.
  [[nodiscard]] Result<ManagedMapping> map(Importer& importer, MapOptions options, Duration deadline,
                                           std::optional<DmaAddress> at = {});

  // Lost pages are host pages again, all zero.
  [[nodiscard]] Result<void> renew(MemoryRange range);

  [[nodiscard]] Result<std::vector<Residence>> where(MemoryRange range) const;
  [[nodiscard]] ManagedCounters counters() const;

 private:
  // Eight bytes for each page.
  struct Page {
    PageState state = PageState::host;
    bool was_on_device = false;  // while it is moving
    bool is_waited_for = false;  // somebody has touched it meanwhile
    std::uint8_t device = 0;     // which of devices_
    std::uint32_t place = 0;     // of that device's pages
  };
  // Pages that this thread has marked as moving: they lie together where they come from.
  struct Claim {
    PageRun pages;
    std::optional<std::uint8_t> from;  // a device; none: host memory
    std::uint32_t from_place = 0;
    bool is_touched = false;  // by the program: that is why they move
  };
  class Turn;         // of whoever maps
  struct PlannedRun;  // of a mapping: pages that lie together
  using Plan = std::vector<PlannedRun>;
  using Lock = std::unique_lock<std::mutex>;

  explicit ManagedPages(ManagedSetup setup);
  [[nodiscard]] Error refusal(ErrorCode code, const char* doing, std::string why, std::string cure = {}) const;
  [[nodiscard]] Result<PageRun> pages_of(MemoryRange range, const char* doing) const;

  // managed_move.cc
  [[nodiscard]] Result<std::uint8_t> number_of(Exporter& device);
  [[nodiscard]] Result<void> move_on_request(MemoryRange range, std::optional<std::uint8_t> to, Duration deadline);
  [[nodiscard]] Result<void> move(MemoryRange range, std::optional<std::uint8_t> to, Duration deadline);
  [[nodiscard]] Result<std::optional<Claim>> claim(PageRun& left, std::optional<std::uint8_t> to,
                                                   base::TimePoint deadline);
  [[nodiscard]] Claim claim_run(std::uint64_t first, std::uint64_t count);
  void unclaim(const Claim& claim, PageRun pages);
  [[nodiscard]] Result<void> relocate(Claim claim, std::optional<std::uint8_t> to, base::TimePoint deadline);
  [[nodiscard]] Result<void> relocate_into(const Claim& claim, std::optional<std::uint8_t> to, DeviceRun target,
                                           base::TimePoint deadline);
  [[nodiscard]] Result<void> take_back(const Claim& claim, base::TimePoint deadline);
  [[nodiscard]] Result<void> copy(const Claim& claim, std::optional<std::uint8_t> to, DeviceRun target);
  void settle(const Claim& claim, std::optional<std::uint8_t> to, DeviceRun target);
  void give_up(const Claim& claim, const Error& why);
  void wake_those_who_wait(PageRun pages);
  [[nodiscard]] PageBytes host_end(PageRun pages) const;
  [[nodiscard]] PageBytes device_end(std::uint8_t device, DeviceRun run) const;
  void on_fault(std::uint64_t page);
  void open_around(Lock& lock, std::uint64_t page);
  void bring_back(const Claim& claim);

  // managed_map.cc
  [[nodiscard]] Result<Plan> plan(MemoryRange range, base::TimePoint deadline) const;
  [[nodiscard]] bool still_holds(const Plan& plan) const;
  [[nodiscard]] Result<void> after_refusal(const PlannedRun& run, NotMapped refused, base::TimePoint deadline);
  [[nodiscard]] Result<std::optional<ManagedMapping>> try_map(Importer& importer, const MapOptions& options,
                                                              base::TimePoint deadline, std::optional<DmaAddress> at);

  Exchange& exchange_;
  base::Clock& clock_;
  std::unique_ptr<PageMover> mover_;
  const Duration touch_deadline_;
  const std::function<void(MemoryRange, const Error&)> on_lost_;

  mutable std::mutex mutex_;
  std::vector<Page> pages_;
  ManagedCounters counters_;
  // Who maps something now, by turn. A request to move waits for those that came before it: pages that are moved without a pause
  // would never hold still for them.
  struct Mapper {
    PageRun pages;
    std::thread::id thread;
  };
  std::map<std::uint64_t, Mapper> mappers_;
  std::uint64_t next_turn_ = 0;
  // Grows, with the lock held, and never moves: a number is looked up without.
  std::array<std::unique_ptr<DevicePages>, kMaxManagedDevices> devices_;
  std::size_t device_count_ = 0;

  // Destroyed from the last to the first: what reaches the pages goes before the pages.
  std::unique_ptr<FaultSource> faults_;
  std::unique_ptr<HostPages> host_;
  std::optional<Region> host_region_;
};

}  // namespace barter::peer
