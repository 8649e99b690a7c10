// The seam to page faults: a range of the process's memory whose pages can be closed, so that the next touch of one, on any
// thread, waits until somebody opens it. Implemented by Linux's userfaultfd (linux/userfault) and, for tests, by
// fake_fault_source.h. The contract is tests/contract/fault_source_contract.h.
//
// The same bytes are seen in two places: where the program touches them, and behind that, where no touch ever waits: devices
// and whoever moves pages use the second one. A page that is moved away is closed, copied from behind, and discarded; one
// that comes back is written from behind, whole, and then opened: no thread ever sees half of it.
//
// Threads: any. Pages of two calls at once are different pages.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "barter/result.hpp"

namespace barter::peer {

// Pages of 4 KiB, counted from the start of the range.
struct PageRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

class FaultSource {
 public:
  // A touch of a closed page waits. Called on the source's own thread, for one page at a time, perhaps several times for one
  // touch. Whoever is called sees to it that the page is opened, lost or woken, now or later.
  using OnFault = std::move_only_function<void(std::uint64_t page)>;

  // No thread touches the program's bytes any more.
  virtual ~FaultSource() = default;

  // At first all pages are open and zero.
  [[nodiscard]] virtual std::span<std::byte> program_bytes() const = 0;
  [[nodiscard]] virtual std::span<std::byte> behind_bytes() const = 0;

  // Does the kernel wait too when it touches a closed page for the program, in read() for one? Else it returns EFAULT.
  [[nodiscard]] virtual bool kernel_touches_wait() const = 0;

  // Once, before the first close().
  [[nodiscard]] virtual Result<void> start(OnFault on_fault) = 0;
  // When it returns, on_fault is not running and is never called again. A touch of a closed page waits for ever from now on.
  // The destructor does it too, but whoever owns the source may be what on_fault uses.
  virtual void stop() = 0;
  // When it returns, no access through the program's bytes is under way, and the next one waits.
  [[nodiscard]] virtual Result<void> close(PageRun pages) = 0;
  // What is behind is seen by the program; threads that wait for it go on.
  [[nodiscard]] virtual Result<void> open(PageRun pages) = 0;
  // Threads that wait for these pages look again: they go on, or on_fault is called anew.
  virtual void wake(PageRun pages) = 0;
  // Gives the host memory behind closed pages back. They are zero when they are next looked at.
  [[nodiscard]] virtual Result<void> discard(PageRun pages) = 0;
  // The bytes of these closed pages are gone for good: from now on a touch ends in SIGBUS, as of a file that was cut short.
  [[nodiscard]] virtual Result<void> lose(PageRun pages) = 0;
  // Lost pages are open again, and zero.
  [[nodiscard]] virtual Result<void> renew(PageRun pages) = 0;
};

}  // namespace barter::peer
