// One client of the broker: its connection, what it owns, and the thread that carries out its requests.
//
// A session's life:
//   new       nothing has been read; only a Hello is
//   greeted   requests are queued by the reading thread and carried out, in order, by the session's own
//   closed    the connection or the process has ended, or has sent what makes no sense: nothing is read or sent any more
//   departed  leases ended, mappings dropped, regions revoked for good; then the thread ends
#pragma once
#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "barter/memory.hpp"
#include "linux/sharing/channel.h"
#include "linux/sharing/message.h"
#include "sharing/broker_state.h"

namespace barter::sharing {

inline constexpr std::size_t kMaxWaitingRequests = 8;
inline constexpr std::size_t kMaxRegionsOfClient = 1024;
inline constexpr std::size_t kMaxMappingsOfClient = 4096;
inline constexpr std::size_t kMaxLeasesOfClient = 4096;
// Messages that a client has not read yet and its socket has no room for, with what it takes to keep them.
inline constexpr std::size_t kMaxUnreadBytes = std::size_t{8} << 20;

// By when an owner has to have given all its answers to what this thread asks for, while it lives. Without one, each answer has
// its own deadline.
class ConsentDeadline {
 public:
  explicit ConsentDeadline(Duration from_now);
  ConsentDeadline(const ConsentDeadline&) = delete;
  ConsentDeadline& operator=(const ConsentDeadline&) = delete;
  ~ConsentDeadline();
  // How long the next answer may take.
  [[nodiscard]] static Duration left(Duration for_one);
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<BrokerState> broker, linux_os::sharing::Visitor visitor)
      : broker_(std::move(broker)), visitor_(std::move(visitor)) {}

  // The reading thread's.
  void start();
  [[nodiscard]] int channel_number() const { return is_closed() ? -1 : visitor_.channel.number(); }
  [[nodiscard]] int process_number() const { return is_closed() ? -1 : visitor_.process_end.number(); }
  void read(std::vector<std::byte>& buffer);
  [[nodiscard]] bool has_unread();
  void send_unread();
  [[nodiscard]] bool has_departed() const { return departed_; }
  void join() { worker_.join(); }

  // Any thread's.
  void close();
  [[nodiscard]] bool is_closed() const { return closed_; }
  [[nodiscard]] Answer ask(const OwnedRegion& region, const Request& request);
  void tell_invalidated(std::uint64_t mapping);
  void tell_unmapped(const OwnedRegion& region, const Request& granted);

 private:
  using Message = linux_os::sharing::Message;
  struct Job {
    Message message;
    linux_os::Descriptor descriptor;
  };
  struct HeldMapping {
    Mapping mapping;
    std::optional<Drive> drive;  // none: an importer that is no drive
  };
  struct Announcement {
    std::uint64_t mapping = 0;
    peer::MappingId name;
  };
  struct Outcome {
    linux_os::sharing::Body body;
    std::shared_ptr<const OwnedRegion> region;  // whose descriptor goes beside it
    std::vector<Announcement> announce;
  };
  // On its way to the client.
  struct Parcel {
    std::vector<std::byte> bytes;
    std::shared_ptr<const OwnedRegion> region;
    [[nodiscard]] std::size_t kept_bytes() const { return sizeof(Parcel) + bytes.size(); }
  };
  // What a client wants to have mapped, found.
  struct Wanted {
    std::shared_ptr<OwnedRegion> region;
    std::shared_ptr<peer::DrivenImporter> importer;
    std::optional<Drive> drive;
  };
  using Carried = Result<Outcome>;

  void take(Message message, linux_os::Descriptor descriptor);
  void send(std::uint32_t number, linux_os::sharing::Body body, std::shared_ptr<const OwnedRegion> region = {});
  [[nodiscard]] Result<void> pass(const Parcel& parcel) const;
  void end_lease(std::uint64_t lease);
  void take_reply(std::uint32_t number, const linux_os::sharing::Reply& reply);

  // The session's own thread.
  void work();
  void depart();
  [[nodiscard]] Carried carry_out(Job& job);
  [[nodiscard]] Carried carry_out(const linux_os::sharing::Allocate& request);
  [[nodiscard]] Carried carry_out(const linux_os::sharing::Map& request, const linux_os::Descriptor& descriptor);
  [[nodiscard]] Carried carry_out(const linux_os::sharing::MapParts& request, const linux_os::Descriptor& descriptor);
  [[nodiscard]] Carried carry_out(const linux_os::sharing::TakeLease& request);
  [[nodiscard]] Carried carry_out(const linux_os::sharing::Unmap& request);
  [[nodiscard]] Carried carry_out(const linux_os::sharing::Move& request);
  [[nodiscard]] Carried carry_out(const linux_os::sharing::TakeBack& request);
  [[nodiscard]] Carried carry_out(const linux_os::sharing::LimitPins& request);
  [[nodiscard]] Carried carry_out(const linux_os::sharing::Free& request);
  [[nodiscard]] Carried carry_out(const linux_os::sharing::Peek& request);
  [[nodiscard]] Carried carry_out(const linux_os::sharing::Poke& request);
  [[nodiscard]] Result<Wanted> find_wanted(const linux_os::sharing::Map& request,
                                           const linux_os::Descriptor& descriptor, const std::string& doing);
  [[nodiscard]] Announcement hold(Mapping mapping, const std::optional<Drive>& drive);
  [[nodiscard]] Result<OwnedRegion*> own_region(std::uint64_t id, std::string doing);
  [[nodiscard]] Result<HeldMapping*> own_mapping(std::uint64_t id, std::string doing);
  [[nodiscard]] Result<std::span<std::byte>> bytes_of(std::uint64_t region, std::uint64_t offset, std::uint64_t bytes);
  void give_back(std::map<std::uint64_t, std::shared_ptr<OwnedRegion>>::iterator region, RevokeOptions options);

  const std::shared_ptr<BrokerState> broker_;
  const linux_os::sharing::Visitor visitor_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> departed_{false};
  bool greeted_ = false;  // the reading thread's

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::map<std::uint64_t, Lease> leases_;
  std::uint32_t last_question_ = 0;
  std::map<std::uint32_t, std::optional<Answer>> questions_;

  std::mutex sending_;
  std::deque<Parcel> unread_;  // in order; the socket has no room for the first of them
  std::size_t unread_bytes_ = 0;

  // The session's own thread.
  std::map<std::uint64_t, std::shared_ptr<OwnedRegion>> regions_;
  std::map<std::uint64_t, HeldMapping> mappings_;
  std::thread worker_;
};

}  // namespace barter::sharing
