// What stands behind the public handles of machine.hpp: one open machine.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "barter/machine.hpp"
#include "base/clock.h"
#include "machine/endpoint.h"
#include "peer/driven_importer.h"
#include "peer/exchange.h"
#include "peer/owned_exporter.h"

namespace barter::drivers::accelerator {
class Accelerator;
}
namespace barter::drivers::dma_engine {
class Engine;
}
namespace barter::drivers::nic {
class Nic;
}

namespace barter::machine {

class ExposedKeys;
class PageMirror;

enum class UnitKind : std::uint8_t { drive, accelerator, dma_engine, nic };

// One place that bytes are copied from and to, brought up: a drive, or a part of one that has a name of its own; or the memory
// of an accelerator, as far as its window shows it; or a DMA engine or a NIC, which have no bytes of their own. The parts of one drive
// share its exporter and importer. Members are destroyed from the last to the first: what reaches the device goes before what drives it.
struct DriveUnit {
  UnitKind kind = UnitKind::drive;
  std::string name;
  Bdf bdf;
  std::optional<Error> trouble;  // why it could not be brought up; then there is nothing below
  std::uint64_t size_bytes = 0;
  std::uint32_t block_bytes = 0;
  std::optional<ControllerMemoryInfo> controller_memory;  // what its driver has read of it
  std::shared_ptr<EndpointFactory> driver;
  IdleEndpoint idle;  // of a drive whose driver keeps endpoints; empty while it is in use
  drivers::accelerator::Accelerator* accelerator = nullptr;  // `driver` owns it; null: not one
  std::shared_ptr<drivers::dma_engine::Engine> dma_engine;   // null: not one
  std::shared_ptr<drivers::nic::Nic> nic;                    // null: not one
  std::shared_ptr<ExposedKeys> exposed;                      // of a NIC
  std::shared_ptr<peer::OwnedExporter> exporter;             // null: the drive shares no memory
  std::shared_ptr<peer::DrivenImporter> importer;            // null: it does no DMA of its own, see `why_not_direct`
  std::shared_ptr<PageMirror> mirror;                        // of an accelerator

  // Gives up the one that is idle first: a drive has only so many.
  [[nodiscard]] Result<std::unique_ptr<Endpoint>> open_endpoint(std::uint32_t capacity) {
    idle = {};
    return driver->open_endpoint(capacity);
  }

  // What its bytes are part of, so that two parts that overlap can be told: a whole drive, or a file.
  std::string medium;
  std::uint64_t start_in_medium = 0;
  // A file, as opposed to a drive: it may end within a block, and a copy to it may make it, or make it longer.
  bool is_file = false;
  // A file that is not there yet, and what the system said when it was looked for: nothing can be copied from it.
  std::optional<Error> not_there;
  // Why it can't be handed memory of peers at all, and why nobody gets its own; each with the cure. None where it can.
  std::optional<Error> why_not_direct;
  std::optional<Error> why_no_memory;
  // What keeps more of its memory than there is from being shared, in words for an error; may be empty.
  std::string what_bounds_memory;
};

// Bytes that devices have moved since the machine was opened, to and from host memory and to and from each other on the bus.
struct HostTraffic {
  std::uint64_t data_bytes = 0;     // written and read
  std::uint64_t control_bytes = 0;  // queues and lists
  std::uint64_t peer_bytes = 0;     // from device to device, not by links
};

// What only one kind of machine can do.
class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual base::Clock& clock() = 0;
  // None on a machine that does not count.
  [[nodiscard]] virtual std::optional<HostTraffic> traffic() const = 0;
  [[nodiscard]] virtual peer::RouteAnswer route(const Topology& topology, Bdf client, Bdf provider) = 0;
  // A drive that is not among those that were brought up with the machine, by a name that means something here alone (a
  // partition, a file). Null if the name means nothing.
  [[nodiscard]] virtual Result<std::unique_ptr<DriveUnit>> bring_up(std::string_view) { return nullptr; }
  // What else may be written where a drive is named, for an error about a name that means nothing; may be empty.
  [[nodiscard]] virtual std::string other_names(std::string_view) const { return {}; }
  // The drive is part of the exchange now.
  virtual void joined(const DriveUnit&, const std::weak_ptr<peer::Exchange>&) {}
  // Devices get on whether or not this process waits for them: true unless they take turns in its own thread.
  [[nodiscard]] virtual bool runs_by_itself() const { return true; }
  // Room for the second view of managed memory, where devices reach it. By default it is anywhere in the process, and known
  // to them by pointer.
  struct HostRoom {
    pci::DmaBuffer buffer;  // empty: none is needed
    bool is_known_by_pointer = true;
  };
  [[nodiscard]] virtual Result<HostRoom> host_room(std::uint64_t) { return HostRoom{}; }
  // Pulls the device out of its slot, without a word to anybody. Any thread.
  [[nodiscard]] virtual Result<void> pull_out(const DriveUnit& unit);
  // Resets the device, as an administrator may whoever uses it, without a word to anybody. Any thread.
  [[nodiscard]] virtual Result<void> reset(const DriveUnit& unit);
  // Breaks the link between two accelerators, or mends it, without a word to anybody. Any thread.
  [[nodiscard]] virtual Result<void> set_device_link(const DriveUnit& one, const DriveUnit& other, bool works);
  // What went wrong below a drive since the last call, in words that a completion status has no room for; may be empty.
  [[nodiscard]] virtual std::string last_trouble(const DriveUnit& drive) = 0;
};

class State : public std::enable_shared_from_this<State> {
 public:
  // A machine to look at; nothing can be moved on it, for the reason given.
  State(std::string name, Topology topology, std::string why_nothing_moves);
  // A machine that works.
  State(std::string name, Topology topology, std::unique_ptr<Backend> backend,
        std::vector<std::unique_ptr<DriveUnit>> drives);
  ~State();

  // Makes the drives known to each other. Once, before any handle is given out.
  [[nodiscard]] Result<void> connect();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const Topology& topology() const { return topology_; }
  [[nodiscard]] std::span<const std::unique_ptr<DriveUnit>> drives() const { return drives_; }
  [[nodiscard]] bool can_move() const { return backend_ != nullptr; }
  [[nodiscard]] Backend& backend() { return *backend_; }  // of a machine that can move
  // Something can be moved, and several threads may see to it.
  [[nodiscard]] bool runs_by_itself() const { return backend_ && backend_->runs_by_itself(); }
  // An error where nothing can be moved, which says why.
  [[nodiscard]] Result<void> check_works(const char* doing) const;
  [[nodiscard]] peer::Exchange& exchange() { return *exchange_; }

  [[nodiscard]] Result<Drive> drive(std::string_view name);
  [[nodiscard]] Result<Accelerator> accelerator(std::string_view name);
  [[nodiscard]] Result<DmaEngine> dma_engine(std::string_view name);
  [[nodiscard]] Result<Nic> nic(std::string_view name);
  [[nodiscard]] Result<Provider> provider(std::string_view name);
  [[nodiscard]] Result<Provider> nearest_provider(std::span<const Bdf> clients);
  [[nodiscard]] Result<DriveUnit*> find_drive(std::string_view name_or_bdf);
  [[nodiscard]] Result<DriveUnit*> find_accelerator(std::string_view name_or_bdf);
  [[nodiscard]] Result<DriveUnit*> find_dma_engine(std::string_view name_or_bdf);
  [[nodiscard]] Result<DriveUnit*> find_nic(std::string_view name_or_bdf);
  [[nodiscard]] Result<DriveUnit*> find_provider(std::string_view name_or_bdf);

  // The device leaves: pulled out (what is in flight fails), or given up by its driver in good order (what is in flight ends
  // first, by the deadline). Its memory is revoked for good, its mappings end, its name is an error that says so, and everyone
  // else goes on. One thread at a time, as always; revocation by others may go on.
  [[nodiscard]] Result<RevokeReport> unplug(DriveUnit& unit, RevokeOptions options = {});
  [[nodiscard]] Result<RevokeReport> unbind(DriveUnit& unit, RevokeOptions options = {});

 private:
  [[nodiscard]] Result<RevokeReport> take_out(DriveUnit& unit, RevokeOptions options, std::string why);
  [[nodiscard]] Result<void> connect(const DriveUnit& drive);
  [[nodiscard]] Result<void> look_again(DriveUnit& drive);
  // Why a name is none of a drive, of a machine that can move.
  [[nodiscard]] Error no_drive(std::string_view name_or_bdf) const;
  // Any kind; null: none that was brought up has this name.
  [[nodiscard]] DriveUnit* find_unit(std::string_view name_or_bdf) const;
  [[nodiscard]] std::string names_of(UnitKind kind) const;
  // A unit of a kind that is brought up with the machine or not at all; `word` is what people call it.
  [[nodiscard]] Result<DriveUnit*> find_device(UnitKind kind, std::string_view word, std::string_view name_or_bdf);

  std::string name_;
  Topology topology_;
  std::string why_nothing_moves_;
  // Destroyed from the last to the first: revocation, then links, then drives, then the machine below them.
  std::unique_ptr<Backend> backend_;
  std::vector<std::unique_ptr<DriveUnit>> drives_;
  std::unique_ptr<peer::Interconnect> links_;  // null: there are none
  std::shared_ptr<peer::Exchange> exchange_;   // nobody keeps it longer than a call
};

}  // namespace barter::machine
