// An accelerator's view of the process's memory: what it is to compute on lies in its page tables at the very addresses that
// the process has it at, so that a pointer means the same to both. What was shown once stays shown until its pages move or are
// taken back; then its entries are gone before the move goes on. Nobody waits for a command meanwhile: where it finds entries gone, it
// asks for the page (docs/devices/accelerator.md, section 4), is shown it where it is by then, and goes on.
//
// One thread at a time, but for the importer, which is called as any other.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "barter/managed.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "drivers/accelerator/accelerator.h"
#include "drivers/accelerator/engine_importer.h"
#include "drivers/accelerator/page_table_domain.h"
#include "peer/exchange.h"
#include "peer/pointers.h"

namespace barter::machine {

inline constexpr std::size_t kMaxMirrored = 64;

class PageMirror {
 public:
  // Both outlive it.
  PageMirror(drivers::accelerator::Accelerator& accelerator, peer::DmaDomain& below)
      : accelerator_(accelerator), domain_(accelerator, below), importer_(accelerator.function(), domain_) {}
  PageMirror(const PageMirror&) = delete;
  PageMirror& operator=(const PageMirror&) = delete;

  [[nodiscard]] peer::Importer& importer() { return importer_; }
  [[nodiscard]] drivers::accelerator::Accelerator& accelerator() { return accelerator_; }

  struct Wanted {
    std::span<const std::byte> memory;
    Access access = Access::read;
  };
  // A command, and all that it uses. The deadline is for pages to move and be shown, not for the computing.
  struct Errand {
    drivers::accelerator::Kind kind = drivers::accelerator::Kind::copy;
    const drivers::accelerator::Command& command;
    std::span<const Wanted> wanted;
    Duration deadline;
  };
  // From the command's submission to its end. ErrorCode::unsupported for memory that no device can be shown: the program's own, that
  // is neither managed nor a device's. Whatever else keeps a page from being shown, at first or when it is asked for, is the error of
  // its mapping; the command has ended then.
  [[nodiscard]] Result<drivers::accelerator::CommandResult> run(peer::Exchange& exchange, const Errand& errand);
  // Has something of it been taken back since it was shown?
  [[nodiscard]] bool was_taken_back(std::span<const Wanted> wanted) const;
  // Takes away what of it is reached by links, which may be down by now, so that the next use looks for a way anew. False: nothing
  // is. No command may be under way.
  [[nodiscard]] bool forget_links(std::span<const Wanted> wanted);

 private:
  // What is shown, as one piece of addresses.
  struct Shown {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    Access access = Access::read;
    std::vector<ManagedMapping> managed;
    std::vector<Mapping> regions;
    [[nodiscard]] bool shares_page_with(const Shown& other) const;
    [[nodiscard]] bool is_revoked() const;
    [[nodiscard]] bool goes_by_link() const;
    [[nodiscard]] bool any_of(bool (*property)(const Mapping&)) const;
  };
  [[nodiscard]] static std::vector<Shown> pieces_of(std::span<const Wanted> wanted);
  [[nodiscard]] Result<drivers::accelerator::CommandResult> run_on(drivers::accelerator::Channel& channel,
                                                                   peer::Exchange& exchange, const Errand& errand);
  [[nodiscard]] Result<void> show_all(peer::Exchange& exchange, std::span<const Shown> pieces, Duration deadline);
  [[nodiscard]] Result<void> show(peer::Exchange& exchange, const Shown& piece, Duration deadline);
  // What the accelerator asks for while it carries out the errand.
  [[nodiscard]] Result<void> meet(peer::Exchange& exchange, const Errand& errand,
                                  const drivers::accelerator::CommandResult& request);
  [[nodiscard]] Result<void> show_run(peer::Exchange& exchange, Shown& piece, const peer::PointerRun& run,
                                      Duration deadline);
  // That it is shown, and nothing of it was taken back.
  [[nodiscard]] const Shown* find(const Shown& piece) const;

  drivers::accelerator::Accelerator& accelerator_;
  drivers::accelerator::PageTableDomain domain_;
  drivers::accelerator::EngineImporter importer_;
  std::vector<Shown> shown_;  // what was used last, last
  // Null until they are needed.
  std::unique_ptr<drivers::accelerator::Channel> copies_;
  std::unique_ptr<drivers::accelerator::Channel> computes_;
};

}  // namespace barter::machine
