// Managed memory on a machine that runs in steps. The page faults are not the kernel's: whoever touches a page says so, on the one
// thread that there is, and where a program's thread would wait, the touch is kept and tried again when it is woken.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "barter/managed.hpp"
#include "pci/function.h"
#include "peer/exporter.h"
#include "peer/fault_source.h"
#include "peer/managed_pages.h"
#include "peer/owned_exporter.h"
#include "peer/page_mover.h"
#include "shadow.h"

namespace barter::sim {

inline constexpr std::uint32_t kManagedPages = 8;
inline constexpr std::uint32_t kCellsInPage = 8;
inline constexpr std::size_t kMaxHolds = 8;
inline constexpr std::size_t kMaxTouches = 8;

// One view of the memory; that nobody looks at closed pages is the simulation's business.
class SteppedFaults final : public peer::FaultSource {
 public:
  using Changed = std::function<void(Cells)>;  // bytes became zero that the host has
  SteppedFaults(pci::DmaBuffer buffer, Changed changed);

  enum class Touch : std::uint8_t { goes_on, dies, waits };
  [[nodiscard]] Touch touch(std::uint64_t page);
  // Has anything been said of this page since the touch began to wait?
  [[nodiscard]] bool is_woken(std::uint64_t page) const { return woken_[page]; }

  [[nodiscard]] std::span<std::byte> program_bytes() const override { return buffer_.bytes(); }
  [[nodiscard]] std::span<std::byte> behind_bytes() const override { return buffer_.bytes(); }
  [[nodiscard]] bool kernel_touches_wait() const override { return true; }
  [[nodiscard]] Result<void> start(OnFault on_fault) override;
  void stop() override { on_fault_ = {}; }
  [[nodiscard]] Result<void> close(peer::PageRun pages) override;
  [[nodiscard]] Result<void> open(peer::PageRun pages) override;
  void wake(peer::PageRun pages) override;
  [[nodiscard]] Result<void> discard(peer::PageRun pages) override;
  [[nodiscard]] Result<void> lose(peer::PageRun pages) override;
  [[nodiscard]] Result<void> renew(peer::PageRun pages) override;

 private:
  enum class State : std::uint8_t { open, closed, lost };
  void set(peer::PageRun pages, State state);

  pci::DmaBuffer buffer_;
  const Changed changed_;
  OnFault on_fault_;
  std::vector<State> states_;
  std::vector<bool> woken_;
};

// Tells the world of each move before it is done, and after it.
class WatchedMover final : public peer::PageMover {
 public:
  using Watch = std::function<void(const peer::PageBytes& from, const peer::PageBytes& to)>;
  WatchedMover(Watch before, Watch after) : before_(std::move(before)), after_(std::move(after)) {}
  [[nodiscard]] Result<void> move(const peer::PageBytes& from, const peer::PageBytes& to) override;

 private:
  peer::CpuMover mover_;
  const Watch before_;
  const Watch after_;
};

// The memory of a device from its driver's start to its end, for those who know it longer: pages that were lost with it.
class LastingExporter final : public peer::Exporter {
 public:
  explicit LastingExporter(std::shared_ptr<peer::OwnedExporter> real)
      : real_(std::move(real)), function_(real_->function()), bytes_(real_->size_bytes()) {}
  void leave() { real_ = nullptr; }

  [[nodiscard]] Bdf function() const override { return function_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_; }
  [[nodiscard]] BusAddress bus_address() const override { return real_->bus_address(); }
  [[nodiscard]] bool is_present() override { return real_ != nullptr && real_->is_present(); }
  [[nodiscard]] Access hardware_access() const override { return real_->hardware_access(); }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange range) override { return real_->cpu_bytes(range); }
  [[nodiscard]] std::optional<std::uint64_t> pin_limit_bytes() const override { return real_->pin_limit_bytes(); }
  [[nodiscard]] Answer decide(const Request& request) override { return real_->decide(request); }
  void unmapped(const Request& granted) override { real_->unmapped(granted); }

 private:
  std::shared_ptr<peer::OwnedExporter> real_;  // null: its driver is gone
  Bdf function_;
  std::uint64_t bytes_;
};

// Where a page is, as the moves said that were seen.
struct ManagedPage {
  std::uint32_t place = 0;
  std::uint32_t first_cell = 0;
  const peer::Exporter* in = nullptr;  // of a device: which of its lives
  std::uint64_t epoch = 0;             // of the device's memory, when the page came there
  bool is_lost = false;
  bool was_there = true;  // when it was carried away last: its device had not forgotten it
  // Where it was carried to last; it is there if the library says that it has moved.
  struct Carried {
    std::uint32_t place = 0;
    std::uint32_t first_cell = 0;
    const peer::Exporter* in = nullptr;
  };
  std::optional<Carried> carried_to;
};

// One part of a mapping of managed memory, for as long as a handle or a lease of it lives.
struct HeldPart {
  std::uint64_t serial = 0;  // stands where a region's does
  std::uint32_t unit = 0;    // the importer
  peer::PageRun pages;
  std::uint32_t place = 0;
  Cells cells;
  peer::MappingId id;
  DmaSegment at;
  Hold hold = Hold::dynamic;
  bool is_guarded = false;
  bool is_closed = false;
};

struct ManagedHold {
  std::optional<ManagedMapping> handle;
  std::uint32_t unit = 0;
  Access access = Access::read;
  std::vector<std::uint64_t> parts;  // serials, in order
};

// A load or a store of the program's that has not gone on yet.
struct WaitingTouch {
  std::uint32_t page = 0;
  bool writes = false;
  bool is_asked = false;  // whoever answers faults has been told
};

}  // namespace barter::sim
