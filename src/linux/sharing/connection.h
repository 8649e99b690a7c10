// A client's end of the connection: calls that wait for their answer, and a thread that reads all that comes.
//
// Calls happen one after the other. What comes in between, the questions to an owner and the news that a mapping is gone, is
// dealt with on the reading thread, so that an owner answers while it waits for something else.
#pragma once
#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "barter/sharing.hpp"
#include "linux/sharing/channel.h"
#include "linux/sharing/message.h"

namespace barter::linux_os::sharing {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  [[nodiscard]] static Result<std::shared_ptr<Connection>> open(const std::filesystem::path& path,
                                                                ConnectOptions options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  struct Answered {
    Body body;
    Descriptor descriptor;
  };
  // Sends and waits. What the broker answered, or its error, or why there is no answer.
  [[nodiscard]] Result<Answered> call(Body request, std::string doing, int descriptor = -1);
  // The same where only one kind of answer makes sense.
  template <class T>
  [[nodiscard]] Result<T> call_for(Body request, std::string doing) {
    auto answered = call(std::move(request), doing);
    if (!answered) return std::unexpected(std::move(answered.error()));
    if (T* const body = std::get_if<T>(&answered->body)) return std::move(*body);
    return give_up(std::move(doing));
  }
  // Sends what has no answer. A connection that has ended needs to be told nothing.
  void tell(const Body& body);
  // Gives something back, and waits until that is done, except on the reading thread.
  void drop(Body body, std::string doing);

  [[nodiscard]] Result<SharedRegion> allocate(std::string_view provider, std::uint64_t bytes, std::uint64_t alignment);
  [[nodiscard]] Result<SharedMapping> map(const RegionDescriptor& region, std::string_view drive, MapOptions options);
  [[nodiscard]] Result<std::vector<SharedPart>> map_parts(const RegionDescriptor& region, std::string_view drive,
                                                          MapOptions options);

  [[nodiscard]] const std::string& machine() const { return machine_; }
  [[nodiscard]] bool is_connected() const;
  // False in a child that was made by fork().
  [[nodiscard]] bool is_own() const;

  void set_consent(std::uint64_t region, Consent consent);
  void set_unmapped(std::uint64_t region, Unmapped told);
  void forget_region(std::uint64_t region);
  void set_callback(std::uint64_t mapping, std::function<void()> callback);
  [[nodiscard]] bool is_invalidated(std::uint64_t mapping) const;
  void forget_mapping(std::uint64_t mapping);

 private:
  // What the reading thread needs; it may outlive the Connection for a moment, when a callback drops the last handle.
  struct Link;
  struct OwnerCallbacks {
    std::shared_ptr<const Consent> consent;
    std::shared_ptr<const Unmapped> unmapped;
  };
  struct MappingNews {
    bool invalidated = false;
    std::function<void()> callback;
  };
  Connection(std::shared_ptr<Link> link, ConnectOptions options);
  [[nodiscard]] bool is_reading_thread() const;
  [[nodiscard]] std::unexpected<Error> give_up(std::string doing);
  static void read_all(const std::shared_ptr<Link>& link);
  static void take(Link& link, Message message, Descriptor descriptor);
  static void answer(Link& link, std::uint32_t number, const Ask& ask);
  static void tell_invalidated(Link& link, std::uint64_t mapping);
  static void tell_unmapped(Link& link, const GrantEnded& ended);
  [[nodiscard]] static OwnerCallbacks callbacks_of(Link& link, std::uint64_t region);
  void swap_callbacks(std::uint64_t region, std::move_only_function<void(OwnerCallbacks&)> swap);
  static void end(Link& link);

  const std::shared_ptr<Link> link_;
  const ConnectOptions options_;
  std::string machine_;
  std::mutex one_call_;
  std::uint32_t last_number_ = 0;  // guarded by one_call_
  std::unique_ptr<std::thread> reader_;
};

}  // namespace barter::linux_os::sharing
