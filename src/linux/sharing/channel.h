// Packets between two processes: a Unix socket of type SOCK_SEQPACKET, with descriptors beside the bytes.
//
// Nothing here waits but wait_for_any(), and send() where it is told for how long. A process that does not read what it is sent
// fills the socket: then send() fails, and the caller knows what to do.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

#include "barter/result.hpp"
#include "barter/units.hpp"
#include "linux/descriptor.h"

namespace barter::linux_os::sharing {

// What receive() found.
struct Packet {
  enum class Kind : std::uint8_t { none, bytes, end };
  Kind kind = Kind::none;
  std::size_t bytes = 0;
  Descriptor descriptor;
  pid_t sender = 0;  // 0: the kernel does not say
};

class Channel {
 public:
  Channel() = default;
  explicit Channel(Descriptor socket) : socket_(std::move(socket)) {}
  // Both ends of a new one.
  [[nodiscard]] static Result<std::pair<Channel, Channel>> pair();
  [[nodiscard]] static Result<Channel> connect(const std::filesystem::path& path);

  [[nodiscard]] int number() const { return socket_.number(); }
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }

  // Any thread. ErrorCode::exhausted if the other side does not read, device_gone if it is there no more.
  [[nodiscard]] Result<void> send(std::span<const std::byte> bytes, int descriptor = -1,
                                  Duration wait_for_room = Duration::zero()) const;
  // One thread. An error if the packet does not fit, or if more than one descriptor came with it.
  [[nodiscard]] Result<Packet> receive(std::span<std::byte> into) const;
  // Any thread: both sides find the end from now on.
  void shut() const;

 private:
  Descriptor socket_;
};

// Who is at the other end, as the kernel says.
struct Visitor {
  Channel channel;
  pid_t process = 0;
  Descriptor process_end;  // readable once the process has ended; may be missing
};

// A place in the file system where processes of the same user (or root) connect.
class Listener {
 public:
  // A socket that a dead process has left there is replaced; one at which somebody listens is not.
  [[nodiscard]] static Result<Listener> open(const std::filesystem::path& path);
  Listener() = default;
  Listener(Listener&& other) noexcept = default;
  Listener& operator=(Listener&& other) noexcept = default;
  ~Listener();

  [[nodiscard]] int number() const { return socket_.number(); }
  // ErrorCode::refused for a process of another user, which is sent away; exhausted if nobody is there.
  [[nodiscard]] Result<Visitor> accept() const;

 private:
  Listener(Descriptor socket, std::filesystem::path path, pid_t owner)
      : socket_(std::move(socket)), path_(std::move(path)), owner_(owner) {}
  Descriptor socket_;
  std::filesystem::path path_;
  pid_t owner_ = 0;
};

// Wakes whoever waits for its number().
class Bell {
 public:
  [[nodiscard]] static Result<Bell> create();
  Bell() = default;
  [[nodiscard]] int number() const { return event_.number(); }
  void ring() const;
  void quiet() const;

 private:
  explicit Bell(Descriptor event) : event_(std::move(event)) {}
  Descriptor event_;
};

struct Watch {
  int number = -1;  // -1: nothing to watch
  bool for_bytes = true;
  bool for_room = false;  // until something can be sent
  bool ready = false;
};
// Waits until one is ready or has ended, at most for so long; negative: for as long as it takes. False: none is.
bool wait_for_any(std::span<Watch> watches, Duration at_most);

}  // namespace barter::linux_os::sharing
