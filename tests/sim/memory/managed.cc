#include "managed.h"

#include <algorithm>
#include <cstring>

#include "peer/pages.h"

namespace barter::sim {

SteppedFaults::SteppedFaults(pci::DmaBuffer buffer, Changed changed)
    : buffer_(std::move(buffer)), changed_(std::move(changed)), states_(kManagedPages), woken_(kManagedPages) {}

SteppedFaults::Touch SteppedFaults::touch(std::uint64_t page) {
  // Whoever answers may be called several times for one touch.
  for (int turn = 0; turn < 2 && states_[page] == State::closed; ++turn) {
    woken_[page] = false;
    on_fault_(page);
    if (!woken_[page]) break;
  }
  if (states_[page] == State::lost) return Touch::dies;
  return states_[page] == State::open ? Touch::goes_on : Touch::waits;
}

Result<void> SteppedFaults::start(OnFault on_fault) {
  on_fault_ = std::move(on_fault);
  return {};
}

void SteppedFaults::set(peer::PageRun pages, State state) {
  for (std::uint64_t page = pages.first; page < pages.first + pages.count; ++page) states_[page] = state;
  if (state != State::closed) wake(pages);
}

void SteppedFaults::wake(peer::PageRun pages) {
  for (std::uint64_t page = pages.first; page < pages.first + pages.count; ++page) woken_[page] = true;
}

Result<void> SteppedFaults::close(peer::PageRun pages) {
  set(pages, State::closed);
  return {};
}

Result<void> SteppedFaults::open(peer::PageRun pages) {
  set(pages, State::open);
  return {};
}

Result<void> SteppedFaults::lose(peer::PageRun pages) {
  set(pages, State::lost);
  return {};
}

Result<void> SteppedFaults::discard(peer::PageRun pages) {
  std::memset(buffer_.bytes().data() + pages.first * peer::kPageBytes, 0, pages.count * peer::kPageBytes);
  changed_(
      {static_cast<std::uint32_t>(pages.first) * kCellsInPage, static_cast<std::uint32_t>(pages.count) * kCellsInPage});
  return {};
}

Result<void> SteppedFaults::renew(peer::PageRun pages) {
  static_cast<void>(discard(pages));
  set(pages, State::open);
  return {};
}

Result<void> WatchedMover::move(const peer::PageBytes& from, const peer::PageBytes& to) {
  before_(from, to);
  auto moved = mover_.move(from, to);
  if (moved) after_(from, to);
  return moved;
}

}  // namespace barter::sim
