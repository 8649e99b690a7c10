// A broker in the test's own process, and players (player.cc) in theirs. Every wait has a deadline.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/barter.hpp"
#include "barter/sharing.hpp"
#include "base/clock.h"
#include "linux/sharing/channel.h"
#include "linux/sharing/message.h"
#include "machine/state.h"
#include "pattern.h"

namespace barter::lifetime {

using namespace barter::literals;
using linux_os::Descriptor;
using linux_os::sharing::Channel;
using linux_os::sharing::Packet;
using linux_os::sharing::Watch;
using testing::HasSubstr;
using testing::StartsWith;

inline constexpr Duration kLongEnough = 60s;

// Looks again and again until it is so.
template <class Done>
bool before_long(Done&& done) {
  base::SystemClock clock;
  return base::wait_until(clock, clock.now() + kLongEnough, std::forward<Done>(done));
}

// A process that does what it is told.
class Process {
 public:
  Process() {
    auto ends = Channel::pair();
    EXPECT_TRUE(ends);
    channel_ = std::move(ends->first);
    const int theirs = ends->second.number();
    process_ = fork();
    if (process_ == 0) {  // only what is safe between fork and exec
      if (theirs == 3) {
        static_cast<void>(fcntl(3, F_SETFD, 0));
      } else {
        static_cast<void>(dup2(theirs, 3));
      }
      execl(BARTER_PLAYER, BARTER_PLAYER, nullptr);
      _exit(127);
    }
  }
  explicit Process(const std::filesystem::path& broker) : Process() {
    EXPECT_THAT(ask("connect " + broker.string()), StartsWith("ok"));
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() { kill(); }

  [[nodiscard]] pid_t id() const { return process_; }
  void tell(const std::string& command, int with = -1) {
    const auto sent = channel_.send(std::as_bytes(std::span(command)), with);
    EXPECT_TRUE(sent) << command;
  }
  std::string answer() {
    Watch watch{.number = channel_.number()};
    if (!linux_os::sharing::wait_for_any({&watch, 1}, kLongEnough)) return "error no answer in time";
    std::array<std::byte, 4096> buffer{};
    auto packet = channel_.receive(buffer);
    if (!packet || packet->kind != Packet::Kind::bytes) return "error the process has ended";
    descriptor = std::move(packet->descriptor);
    return {reinterpret_cast<const char*>(buffer.data()), packet->bytes};
  }
  std::string ask(const std::string& command, int with = -1) {
    tell(command, with);
    return answer();
  }
  // Hands a region of this process to another one.
  void pass(const std::string& region, Process& to) {
    EXPECT_EQ(ask("descriptor " + region), "ok");
    EXPECT_EQ(to.ask("keep " + region, descriptor.number()), "ok");
  }
  // As a crash does: without a word.
  void kill() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    waitpid(std::exchange(process_, 0), nullptr, 0);
  }

  Descriptor descriptor;  // what came with the last answer

 private:
  Channel channel_;
  pid_t process_ = 0;
};

struct Folder {
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "barter-sharing-XXXXXX";
    path = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

// A connection that sends what it likes, in the test's own process.
class Raw {
 public:
  explicit Raw(const std::filesystem::path& broker) {
    auto connected = Channel::connect(broker);
    EXPECT_TRUE(connected);
    channel_ = std::move(*connected);
  }
  static Raw greeted(const std::filesystem::path& broker) {
    Raw raw(broker);
    EXPECT_TRUE(raw.call<linux_os::sharing::Welcome>(linux_os::sharing::Hello{.who = "raw"}));
    return raw;
  }
  void send(linux_os::sharing::Body body, int with = -1, std::uint32_t number = 1) {
    send_bytes(linux_os::sharing::encode({number, std::move(body)}), with);
  }
  void send_bytes(std::span<const std::byte> bytes, int with = -1) { static_cast<void>(channel_.send(bytes, with)); }
  // What comes next; none if the connection ends, or nothing comes.
  std::optional<linux_os::sharing::Body> next(Duration at_most = kLongEnough) {
    Watch watch{.number = channel_.number()};
    if (!linux_os::sharing::wait_for_any({&watch, 1}, at_most)) return std::nullopt;
    std::vector<std::byte> buffer(linux_os::sharing::kMaxMessageBytes);
    auto packet = channel_.receive(buffer);
    if (!packet || packet->kind != Packet::Kind::bytes) return std::nullopt;
    descriptor = std::move(packet->descriptor);
    auto message = linux_os::sharing::decode(std::span(buffer).first(packet->bytes));
    EXPECT_TRUE(message);
    if (!message) return std::nullopt;
    // It agrees to everything.
    if (std::holds_alternative<linux_os::sharing::Ask>(message->body)) {
      send(linux_os::sharing::Reply{.kind = Answer::Kind::direct}, -1, message->number);
      return next(at_most);
    }
    return std::move(message->body);
  }
  bool has_ended() {
    while (next()) continue;
    return true;
  }
  template <class T>
  std::optional<T> call(linux_os::sharing::Body body, int with = -1) {
    send(std::move(body), with);
    auto answer = next();
    // As the owner of what it maps, it is told of the end first.
    while (answer && std::holds_alternative<linux_os::sharing::GrantEnded>(*answer)) answer = next();
    if (!answer) return std::nullopt;
    if (T* const wanted = std::get_if<T>(&*answer)) return std::move(*wanted);
    if (const auto* failed = std::get_if<linux_os::sharing::Failed>(&*answer)) error = failed->error;
    return std::nullopt;
  }

  [[nodiscard]] const Channel& channel() const { return channel_; }
  Descriptor descriptor;
  Error error;

 private:
  Channel channel_;
};

class Lifetime : public testing::Test {
 protected:
  void open(const std::string& name = "two-nvme", BrokerOptions options = {}) {
    auto opened = Machine::open(name, {.threaded = true});
    ASSERT_TRUE(opened) << opened.error().message();
    machine.emplace(std::move(*opened));
    auto serving = Broker::open(*machine, place(), std::move(options));
    ASSERT_TRUE(serving) << serving.error().message();
    broker.emplace(std::move(*serving));
  }
  [[nodiscard]] std::filesystem::path place() const { return folder_.path / "broker"; }
  // What a drive holds is known before anything is read from it.
  void put(const std::string& drive, std::size_t bytes, std::uint64_t seed) {
    const auto lock = broker->hold_machine();
    ASSERT_TRUE(write(*machine->drive(drive), {}, pattern(bytes, seed)));
  }
  void TearDown() override {
    if (!broker) return;
    // Nothing is left of anybody once all have gone.
    EXPECT_TRUE(before_long([&] { return broker->counters().clients == expected_clients; }));
    const BrokerCounters left = broker->counters();
    if (expected_clients == 0) {
      EXPECT_EQ(left.regions, 0u);
      EXPECT_EQ(left.mappings, 0u);
      EXPECT_EQ(left.leases, 0u);
    }
    EXPECT_EQ(left.malformed, expected_malformed);
  }

  Folder folder_;
  std::optional<Machine> machine;
  std::optional<Broker> broker;
  std::uint64_t expected_clients = 0;
  std::uint64_t expected_malformed = 0;
};

}  // namespace barter::lifetime
