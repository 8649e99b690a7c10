// One machine for several processes.
//
// The process that has opened the machine is the broker; every other one connects to it. Each may own device memory, let others
// have it, and take it back; and each may have its memory mapped for the machine's drives.
//
//   auto machine = barter::Machine::open("two-nvme", {.threaded = true});                // the broker
//   auto broker = barter::Broker::open(*machine, "/run/user/1000/barter");
//
//   auto here = barter::SharedMachine::connect("/run/user/1000/barter");                 // a process that owns memory
//   auto weights = here->allocate("nvme0", 1_MiB);
//   weights->on_request([](const barter::Request&) { return barter::Answer::direct(); });
//   barter::pass_region(socket, weights->descriptor());
//
//   auto region = barter::receive_region(socket, 1s);                                    // a process that uses it
//   auto there = barter::SharedMachine::connect("/run/user/1000/barter");
//   auto mapping = there->map(*region, "nvme1", {.access = barter::Access::write});      // the owner is asked
//   mapping->read({.bytes = 1_MiB});                                                     // from nvme1 into the memory
//
// A region is passed as a file descriptor, over any Unix socket (SCM_RIGHTS). Nobody can make one but the broker; whoever holds
// it can ask for a mapping, and the owner decides, by the deadline of the broker: no answer is a refusal.
//
// Lifetime: a process that ends, in whatever way, takes with it what is its own: its leases end, its mappings are dropped, its
// regions are revoked for good. All others go on, and those that had mapped its memory are told. When the broker ends, all
// handles say so (ErrorCode::device_gone). A handle belongs to the process that made it: in a child made by fork() it refuses
// (ErrorCode::refused), and the child connects for itself.
//
// Threads: handles may be used from any thread, and calls of one connection happen one after the other. The callbacks run on
// a thread of the connection; they must not call the connection but may drop leases.
//
// What travels between the processes: docs/sharing.md.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <barter/address.hpp>
#include <barter/io.hpp>
#include <barter/machine.hpp>
#include <barter/memory.hpp>
#include <barter/result.hpp>
#include <barter/units.hpp>

namespace barter {

namespace sharing {
class BrokerState;
}
namespace linux_os::sharing {
class Connection;
}

struct BrokerOptions {
  // For an owner in another process: by then it has given all its answers to one request of a client, however many parts it
  // decides on apart. What this process maps itself waits so long for each answer.
  Duration consent_deadline = std::chrono::seconds(1);
  Duration departure_deadline =
      std::chrono::milliseconds(100);  // for importers of the memory of a process that has ended
  // Decides on memory of the shared providers that belongs to no other process. None: every request is direct.
  Consent consent;
  // Told of the end of what was granted by that. While the machine is shared, these two stand in for Provider::on_request and
  // Provider::on_unmap of the providers that other processes have memory of.
  Unmapped on_unmap;
};

// Totals since the broker was opened, but for the first four, which are of now.
struct BrokerCounters {
  std::uint64_t clients = 0;
  std::uint64_t regions = 0;
  std::uint64_t mappings = 0;
  std::uint64_t leases = 0;
  std::uint64_t connected = 0;
  std::uint64_t asked = 0;
  std::uint64_t unanswered = 0;           // of those, not answered by the deadline
  std::uint64_t late_importers = 0;       // when the memory of a process that had ended was taken back
  std::uint64_t refused_descriptors = 0;  // forged, or of regions that are gone
  std::uint64_t malformed = 0;            // messages that ended a connection
  std::uint64_t foreign = 0;              // messages by other processes than the one that had connected; not read
};

// Serves until it is dropped, on threads of its own.
class Broker {
 public:
  // The machine must be one on which devices run by themselves: this computer, or a software machine opened as threaded. The
  // socket is for processes of the same user, and of root.
  [[nodiscard]] static Result<Broker> open(const Machine& machine, const std::filesystem::path& socket,
                                           BrokerOptions options = {});
  Broker(Broker&&) noexcept;
  Broker& operator=(Broker&&) noexcept;
  ~Broker();  // ends all connections, revokes what the other processes own, and then returns

  // One thread at a time uses a machine: while the broker serves, this process does it with this lock held. Revoking, and
  // mapping, need no lock.
  [[nodiscard]] std::unique_lock<std::mutex> hold_machine();
  [[nodiscard]] BrokerCounters counters() const;

 private:
  explicit Broker(std::shared_ptr<sharing::BrokerState> state);
  std::shared_ptr<sharing::BrokerState> state_;
};

// Stands for a region in any process that holds it. An owner of one file descriptor.
class RegionDescriptor {
 public:
  explicit RegionDescriptor(int number) : number_(number) {}
  RegionDescriptor(RegionDescriptor&& other) noexcept;
  RegionDescriptor& operator=(RegionDescriptor&& other) noexcept;
  ~RegionDescriptor();
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_ = -1;
};

// Over any connected Unix socket, with one byte beside it. The socket stays the caller's.
[[nodiscard]] Result<void> pass_region(int socket, const RegionDescriptor& region);
[[nodiscard]] Result<RegionDescriptor> receive_region(int socket, Duration deadline);

// Device memory that this process owns. Dropping it revokes its mappings and gives the memory back.
class SharedRegion {
 public:
  SharedRegion(SharedRegion&&) noexcept;
  SharedRegion& operator=(SharedRegion&&) noexcept;
  ~SharedRegion();
  [[nodiscard]] Bdf exporter() const { return exporter_; }
  [[nodiscard]] MemoryRange range() const { return range_; }  // within the exporter's memory
  [[nodiscard]] std::uint64_t size_bytes() const { return range_.bytes; }
  [[nodiscard]] const RegionDescriptor& descriptor() const { return descriptor_; }

  // Decides from now on; none: every request is direct. When this returns, the old one is not running any more.
  void on_request(Consent consent);
  // Told from now on of everything granted that is gone again, as by Provider::on_unmap: before revoke() or invalidate() has
  // returned, and on a thread of the connection. When this returns, the old one is not running any more.
  void on_unmap(Unmapped told);
  // As Provider::limit_pins, for this region. The process that shares the machine may have set a limit of its own for the
  // provider; then both count.
  [[nodiscard]] Result<void> limit_pins(std::optional<std::uint64_t> bytes);
  // As of Region. The deadline is at most a minute.
  [[nodiscard]] Result<RevokeReport> revoke(RevokeOptions options = {});
  [[nodiscard]] Result<RevokeReport> invalidate(RevokeOptions options = {});

  // The memory's bytes, by the broker's CPU. For memory that a CPU can reach.
  [[nodiscard]] Result<void> load(std::uint64_t offset, std::span<std::byte> into) const;
  [[nodiscard]] Result<void> store(std::uint64_t offset, std::span<const std::byte> from);

 private:
  friend class linux_os::sharing::Connection;
  SharedRegion(std::shared_ptr<linux_os::sharing::Connection> connection, std::uint64_t id, Bdf exporter,
               MemoryRange range, RegionDescriptor descriptor);
  [[nodiscard]] Result<RevokeReport> take_back(bool for_good, RevokeOptions options);
  std::shared_ptr<linux_os::sharing::Connection> connection_;
  std::uint64_t id_ = 0;
  Bdf exporter_;
  MemoryRange range_;
  RegionDescriptor descriptor_;
};

// As Lease, held by the broker for this process. It ends when it is dropped, and with the process.
class SharedLease {
 public:
  SharedLease(SharedLease&&) noexcept;
  SharedLease& operator=(SharedLease&&) noexcept;
  ~SharedLease();

 private:
  friend class SharedMapping;
  SharedLease(std::shared_ptr<linux_os::sharing::Connection> connection, std::uint64_t id);
  std::shared_ptr<linux_os::sharing::Connection> connection_;
  std::uint64_t id_ = 0;
};

// A drive's right to DMA to a region. Dropping it unmaps.
class SharedMapping {
 public:
  SharedMapping(SharedMapping&&) noexcept;
  SharedMapping& operator=(SharedMapping&&) noexcept;
  ~SharedMapping();
  [[nodiscard]] Route route() const { return route_; }
  [[nodiscard]] Hold hold() const { return hold_; }
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] Bdf importer() const { return importer_; }
  // This process has been told that the owner took the memory back, for now or for good, or the connection has ended.
  [[nodiscard]] bool is_revoked() const;
  // Called once when it is told, at once if it has been told already.
  void on_invalidate(std::function<void()> callback);

  [[nodiscard]] Result<SharedLease> lease() const;
  // Bytes of the drive it is mapped for into the memory, and back; under leases of the broker's own, one for each MiB, so that
  // the owner need not wait for the end of a long one.
  [[nodiscard]] Result<void> read(DrivePart from) const;
  [[nodiscard]] Result<void> write(DrivePart to) const;

 private:
  friend class linux_os::sharing::Connection;
  SharedMapping(std::shared_ptr<linux_os::sharing::Connection> connection, std::uint64_t id, Bdf importer, Route route,
                Hold hold, std::uint64_t size_bytes);
  [[nodiscard]] Result<void> move(DrivePart part, bool to_drive) const;
  std::shared_ptr<linux_os::sharing::Connection> connection_;
  std::uint64_t id_ = 0;
  Bdf importer_;
  Route route_ = Route::unknown;
  Hold hold_ = Hold::dynamic;
  std::uint64_t size_bytes_ = 0;
};

// As MappedPart.
struct SharedPart {
  MemoryRange range;                     // within the exporter's memory
  std::optional<SharedMapping> mapping;  // if the answer is `direct`
  Answer answer;
};

struct ConnectOptions {
  // How long one call waits for the broker. Past it the connection is given up: a late answer would be somebody else's.
  Duration answer_deadline = std::chrono::seconds(60);
};

// A connection to a machine that another process has opened.
class SharedMachine {
 public:
  [[nodiscard]] static Result<SharedMachine> connect(const std::filesystem::path& socket, ConnectOptions options = {});
  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] bool is_connected() const;
  [[nodiscard]] Result<SharedRegion> allocate(std::string_view provider, std::uint64_t bytes,
                                              std::uint64_t alignment = 4096) const;
  // For a drive, by its name or BDF. Held as the options say: the owner is asked whether it promises not to move the memory.
  [[nodiscard]] Result<SharedMapping> map(const RegionDescriptor& region, std::string_view drive,
                                          MapOptions options = {}) const;
  // As Drive::map_parts. ErrorCode::exhausted if the owner decides on more than 64 parts apart.
  [[nodiscard]] Result<std::vector<SharedPart>> map_parts(const RegionDescriptor& region, std::string_view drive,
                                                          MapOptions options = {}) const;

 private:
  explicit SharedMachine(std::shared_ptr<linux_os::sharing::Connection> connection)
      : connection_(std::move(connection)) {}
  std::shared_ptr<linux_os::sharing::Connection> connection_;
};

}  // namespace barter
