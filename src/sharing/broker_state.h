// What the broker keeps for all clients: whose region is where, whose mapping is which, and the thread that reads.
//
// Locks, each taken after those above it: none is held while a client is waited for.
//   machine_mutex   the machine's drives and providers, one thread at a time
//   mutex_          the tables here
//   Session::sending_, Session::mutex_
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "barter/sharing.hpp"
#include "linux/sharing/channel.h"
#include "linux/sharing/region_descriptor.h"
#include "machine/state.h"
#include "peer/importer.h"

namespace barter::sharing {

class Session;

// A client's region. Whoever maps it keeps it for as long as that takes.
struct OwnedRegion {
  Region region;
  linux_os::Descriptor descriptor;
  linux_os::sharing::FileIdentity identity;
  std::uint64_t id = 0;
  std::weak_ptr<Session> owner;
};

// Whom to tell that a mapping is gone.
struct MappingOwner {
  std::weak_ptr<Session> session;
  std::uint64_t id = 0;
  bool announced = false;    // the client knows the mapping
  bool invalidated = false;  // and has been told, or will be when it is announced
};

struct LiveCounters {
  std::atomic<std::uint64_t> clients, regions, mappings, leases, connected, asked, unanswered, late_importers,
      refused_descriptors, malformed, foreign;
};

inline constexpr std::size_t kMaxClients = 64;

class BrokerState : public std::enable_shared_from_this<BrokerState> {
 public:
  [[nodiscard]] static Result<std::shared_ptr<BrokerState>> open(const Machine& machine,
                                                                 const std::filesystem::path& path,
                                                                 BrokerOptions options);
  BrokerState(const Machine& machine, BrokerOptions options) : options_(std::move(options)), machine_(machine) {}
  // Ends everything and waits for it. Once, before the last share of this goes.
  void close();

  [[nodiscard]] const BrokerOptions& options() const { return options_; }
  [[nodiscard]] const Machine& machine() const { return machine_; }
  [[nodiscard]] std::mutex& machine_mutex() { return machine_mutex_; }
  [[nodiscard]] machine::State& state() { return *machine_.state(); }
  [[nodiscard]] std::uint64_t next_id() { return ++last_id_; }
  void ring() const { bell_.ring(); }
  LiveCounters counters{};

  // Regions.
  [[nodiscard]] Result<std::shared_ptr<OwnedRegion>> allocate(const std::shared_ptr<Session>& owner,
                                                              const std::string& provider, std::uint64_t bytes,
                                                              std::uint64_t alignment);
  [[nodiscard]] std::shared_ptr<OwnedRegion> find(linux_os::sharing::FileIdentity identity);
  // Nobody can ask for it any more; and then, once its mappings are gone too, nobody speaks for its place.
  void close_to_users(const OwnedRegion& region);
  void forget(const OwnedRegion& region);

  // Mappings. Announced after the client has been sent its number: news of a mapping never come before it.
  void add_mapping(peer::MappingId mapping, MappingOwner owner);
  void announce(peer::MappingId mapping, bool is_revoked);
  void remove_mapping(peer::MappingId mapping);
  // So that this importer's invalidations are passed on.
  void listen_to(const std::shared_ptr<peer::DrivenImporter>& importer);

 private:
  void own(const std::shared_ptr<peer::OwnedExporter>& exporter, Bdf function);
  [[nodiscard]] std::shared_ptr<OwnedRegion> region_at(Bdf exporter, MemoryRange range);
  [[nodiscard]] Answer decide(Bdf exporter, const Request& request);
  void unmapped(Bdf exporter, const Request& granted);
  void invalidate(peer::MappingId mapping);
  void serve();
  void accept();
  void admit(linux_os::sharing::Visitor visitor);
  void sweep();

  const BrokerOptions options_;
  const Machine machine_;
  std::mutex machine_mutex_;
  std::atomic<std::uint64_t> last_id_{0};

  std::mutex mutex_;
  std::map<linux_os::sharing::FileIdentity, std::weak_ptr<OwnedRegion>> by_identity_;
  std::map<std::pair<Bdf, std::uint64_t>, std::weak_ptr<OwnedRegion>> by_place_;  // exporter, offset
  std::map<peer::MappingId, MappingOwner> mappings_;

  // With the machine's lock.
  std::vector<std::shared_ptr<peer::OwnedExporter>> exporters_;
  std::vector<std::shared_ptr<peer::DrivenImporter>> importers_;

  // The reading thread's.
  linux_os::sharing::Listener listener_;
  linux_os::sharing::Bell bell_;
  std::vector<std::shared_ptr<Session>> sessions_;
  bool is_full_of_descriptors_ = false;
  std::atomic<bool> stopping_{false};
  std::thread reader_;
};

}  // namespace barter::sharing
