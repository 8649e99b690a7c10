#include "linux/sharing/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/clock.h"
#include "linux/system_error.h"

namespace barter::linux_os::sharing {
namespace {

constexpr int kWaiting = 64;  // connections that nobody has accepted yet
constexpr std::size_t kDescriptors = 4;

struct Place {
  sockaddr_un address{};
  socklen_t bytes = 0;
};

Result<Place> place_of(const std::filesystem::path& path) {
  Place place;
  const std::string& text = path.native();
  if (text.empty() || text.size() >= sizeof(place.address.sun_path))
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "using the socket",
                 .subject = text,
                 .why = fmt::format("its path has {} bytes, and 1 to {} are possible", text.size(),
                                    sizeof(place.address.sun_path) - 1),
                 .cure = "put it into a folder with a shorter name"});
  place.address.sun_family = AF_UNIX;
  std::memcpy(place.address.sun_path, text.data(), text.size());
  place.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + text.size() + 1);
  return place;
}

Result<Descriptor> make_socket(const std::filesystem::path& path) {
  Descriptor made(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.is_open()) return fail(system_error(errno, "making a socket for", path.string()));
  return made;
}

const sockaddr* generic(const Place& place) { return reinterpret_cast<const sockaddr*>(&place.address); }

// Takes all that the kernel has put beside the bytes, so that no descriptor is left lying about.
std::size_t take_beside(const msghdr& header, Packet& packet) {
  std::size_t descriptors = 0;
  for (const cmsghdr* beside = CMSG_FIRSTHDR(&header); beside != nullptr;
       beside = CMSG_NXTHDR(const_cast<msghdr*>(&header), const_cast<cmsghdr*>(beside))) {
    if (beside->cmsg_level != SOL_SOCKET) continue;
    if (beside->cmsg_type == SCM_CREDENTIALS && beside->cmsg_len == CMSG_LEN(sizeof(ucred))) {
      ucred sender{};
      std::memcpy(&sender, CMSG_DATA(beside), sizeof(sender));
      packet.sender = sender.pid;
    }
    if (beside->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (beside->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t index = 0; index < count; ++index) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(beside) + index * sizeof(int), sizeof(int));
      packet.descriptor = Descriptor(number);
      ++descriptors;
    }
  }
  return descriptors;
}

}  // namespace

Result<std::pair<Channel, Channel>> Channel::pair() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0)
    return fail(system_error(errno, "making", "a pair of sockets"));
  return std::pair(Channel(Descriptor(ends[0])), Channel(Descriptor(ends[1])));
}

Result<Channel> Channel::connect(const std::filesystem::path& path) {
  const auto place = place_of(path);
  if (!place) return std::unexpected(place.error());
  auto made = make_socket(path);
  if (!made) return std::unexpected(std::move(made.error()));
  if (::connect(made->number(), generic(*place), place->bytes) == 0) return Channel(std::move(*made));
  const int number = errno;
  Error error = system_error(number, "connecting to", path.string());
  if (number == ENOENT || number == ECONNREFUSED) {
    error.code = ErrorCode::not_found;
    error.why = "no process shares a machine there";
    error.cure = "start the one that does, or look at the path";
  }
  return fail(std::move(error));
}

Result<void> Channel::send(std::span<const std::byte> bytes, int descriptor, Duration wait_for_room) const {
  iovec piece{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> beside{};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  if (descriptor >= 0) {
    header.msg_control = beside.data();
    header.msg_controllen = beside.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof(int));
  }
  const base::SystemClock clock;
  const base::TimePoint deadline = clock.now() + wait_for_room;
  while (sendmsg(socket_.number(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) continue;
    const int number = errno;
    if (number == EAGAIN && wait_for_room > Duration::zero() && clock.now() < deadline) {
      Watch watch{.number = socket_.number(), .for_bytes = false, .for_room = true};
      static_cast<void>(wait_for_any({&watch, 1}, deadline - clock.now()));
      continue;
    }
    Error error = system_error(number, "sending to", "another process");
    if (number == EPIPE || number == ECONNRESET || number == ENOTCONN) {
      error.code = ErrorCode::device_gone;
      error.why = "the connection has ended";
    } else if (number == EAGAIN) {
      error.why = "it does not read what it is sent";
    }
    return fail(std::move(error));
  }
  return {};
}

Result<Packet> Channel::receive(std::span<std::byte> into) const {
  iovec piece{.iov_base = into.data(), .iov_len = into.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(kDescriptors * sizeof(int))> beside{};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = beside.data();
  header.msg_controllen = beside.size();
  ssize_t got = -1;
  // A side that has closed without reading all is reported once, before what it has sent.
  for (int resets = 0; got < 0;) {
    got = recvmsg(socket_.number(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno != EINTR && (errno != ECONNRESET || ++resets > 1)) break;
  }
  Packet packet;
  if (got < 0 && errno == EAGAIN) return packet;
  if (got < 0 && (errno == ECONNRESET || errno == ENOTCONN)) got = 0;
  if (got < 0) return fail(system_error(errno, "receiving from", "another process"));
  const std::size_t descriptors = take_beside(header, packet);
  const bool truncated = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  if (truncated || descriptors > 1)
    return fail({.code = ErrorCode::malformed,
                 .doing = "receiving from",
                 .subject = "another process",
                 .why = descriptors > 1 ? "more than one descriptor came with a message" : "a message is too long"});
  packet.kind = got == 0 ? Packet::Kind::end : Packet::Kind::bytes;
  packet.bytes = static_cast<std::size_t>(got);
  return packet;
}

void Channel::shut() const { static_cast<void>(shutdown(socket_.number(), SHUT_RDWR)); }

Result<Listener> Listener::open(const std::filesystem::path& path) {
  const auto place = place_of(path);
  if (!place) return std::unexpected(place.error());
  auto made = make_socket(path);
  if (!made) return std::unexpected(std::move(made.error()));
  // Credentials come with every message, also with those that are sent before the connection is accepted.
  const int yes = 1;
  static_cast<void>(setsockopt(made->number(), SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)));
  int bound = bind(made->number(), generic(*place), place->bytes);
  if (bound != 0 && errno == EADDRINUSE) {
    struct stat there{};
    const bool is_socket = lstat(path.c_str(), &there) == 0 && S_ISSOCK(there.st_mode);
    if (!is_socket || Channel::connect(path))
      return fail({.code = ErrorCode::refused,
                   .doing = "sharing a machine at",
                   .subject = path.string(),
                   .why = is_socket ? "another process shares one there" : "something else is there",
                   .cure = "use another path"});
    static_cast<void>(unlink(path.c_str()));
    bound = bind(made->number(), generic(*place), place->bytes);
  }
  if (bound != 0) return fail(system_error(errno, "sharing a machine at", path.string()));
  Listener listener(std::move(*made), path, getpid());
  // Nobody can connect before listen(), so nobody slips in before the permissions are right.
  if (chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0 || listen(listener.number(), kWaiting) != 0)
    return fail(system_error(errno, "sharing a machine at", path.string()));
  return listener;
}

Listener::~Listener() {
  if (socket_.is_open() && owner_ == getpid()) static_cast<void>(unlink(path_.c_str()));
}

Result<Visitor> Listener::accept() const {
  Descriptor socket(accept4(socket_.number(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.is_open()) return fail(system_error(errno, "accepting a process at", path_.string()));
  const int yes = 1;
  ucred peer{};
  socklen_t bytes = sizeof(peer);
  if (setsockopt(socket.number(), SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes)) != 0 ||
      getsockopt(socket.number(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0)
    return fail(system_error(errno, "asking who has connected to", path_.string()));
  if (peer.uid != geteuid() && peer.uid != 0)
    return fail({.code = ErrorCode::refused,
                 .doing = "accepting a process at",
                 .subject = path_.string(),
                 .why = fmt::format("it is of user {}, and this one of user {}", peer.uid, geteuid())});
  // A connection that a child has inherited stays open when its process ends; only this tells.
  Descriptor end(peer.pid > 0 ? static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0)) : -1);
  return Visitor{.channel = Channel(std::move(socket)), .process = peer.pid, .process_end = std::move(end)};
}

Result<Bell> Bell::create() {
  Descriptor event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.is_open()) return fail(system_error(errno, "making", "an eventfd"));
  return Bell(std::move(event));
}

void Bell::ring() const {
  const std::uint64_t one = 1;
  static_cast<void>(!write(event_.number(), &one, sizeof(one)));
}

void Bell::quiet() const {
  std::uint64_t count = 0;
  static_cast<void>(!read(event_.number(), &count, sizeof(count)));
}

bool wait_for_any(std::span<Watch> watches, Duration at_most) {
  std::vector<pollfd> polled(watches.size());
  std::ranges::transform(watches, polled.begin(), [](const Watch& watch) {
    const int events = (watch.for_bytes ? POLLIN : 0) | (watch.for_room ? POLLOUT : 0);
    return pollfd{.fd = watch.number, .events = static_cast<short>(events), .revents = 0};
  });
  const auto rounded = std::chrono::ceil<std::chrono::milliseconds>(at_most).count();
  const int timeout_ms = at_most < Duration::zero() ? -1 : static_cast<int>(std::min<std::int64_t>(rounded, 1 << 30));
  const int count = poll(polled.data(), polled.size(), timeout_ms);
  for (std::size_t index = 0; index < watches.size(); ++index)
    watches[index].ready = count > 0 && polled[index].revents != 0;
  return count > 0;
}

}  // namespace barter::linux_os::sharing
