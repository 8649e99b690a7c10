// The example of docs/peer.md with other processes, word for word; three processes run it. That it stands there as it stands
// here is checked by tests/contract/peer_guide_test.cc.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "barter/barter.hpp"

namespace {

using namespace barter::literals;

// The process that has opened the machine shares it as long as the broker lives.
int share_machine(const std::filesystem::path& place, const std::function<void()>& while_it_lasts) {
  auto machine = barter::Machine::open("two-nvme", {.threaded = true});
  if (!machine) return barter::print(machine.error());
  auto broker = barter::Broker::open(*machine, place);
  if (!broker) return barter::print(broker.error());
  while_it_lasts();
  return 0;
}

// The process that owns the memory sets its terms, and hands its region to another one over a socket of theirs.
int own_memory(const std::filesystem::path& place, int socket) {
  auto machine = barter::SharedMachine::connect(place);
  if (!machine) return barter::print(machine.error());
  std::atomic<std::uint64_t> ended_bytes = 0;
  auto region = machine->allocate("nvme0", 64_KiB);
  if (!region) return barter::print(region.error());
  const std::uint64_t secret = region->range().offset + 32_KiB;
  region->on_request([secret](const barter::Request& request) {
    if (request.range.offset >= secret || request.access != barter::Access::read)
      return barter::Answer::refuse("only the first half, and only to be read");
    return barter::Answer::direct().for_first(secret - request.range.offset);
  });
  region->on_unmap([&](const barter::Request& granted) { ended_bytes += granted.range.bytes; });
  if (auto limited = region->limit_pins(16_KiB); !limited) return barter::print(limited.error());
  const std::vector<std::byte> weights(64_KiB, std::byte{0x5a});
  if (auto stored = region->store(0, weights); !stored) return barter::print(stored.error());
  if (auto passed = barter::pass_region(socket, region->descriptor()); !passed) return barter::print(passed.error());

  char done = 0;
  if (read(socket, &done, 1) != 1) return 1;
  auto moved = region->invalidate();
  if (moved.has_value() || moved.error().code != barter::ErrorCode::pinned) return 1;
  auto revoked = region->revoke({.deadline = 100ms});  // when it returns, no drive reaches the memory any more
  if (!revoked) return barter::print(revoked.error());
  return revoked->mappings == 2 && ended_bytes == 48_KiB ? 0 : 1;
}

// The process that uses it. Had it crashed, its mappings would be gone, and the owner would have been told the same.
int use_memory(const std::filesystem::path& place, int socket) {
  auto region = barter::receive_region(socket, 10s);
  if (!region) return barter::print(region.error());
  auto machine = barter::SharedMachine::connect(place);
  if (!machine) return barter::print(machine.error());
  auto refused = machine->map(*region, "nvme1", {.access = barter::Access::write});
  if (refused.has_value() || refused.error().code != barter::ErrorCode::refused) return 1;
  auto parts = machine->map_parts(*region, "nvme1", {.access = barter::Access::read});
  if (!parts) return barter::print(parts.error());
  if (parts->size() != 2 || !parts->front().mapping) return 1;
  barter::SharedMapping& mapping = *parts->front().mapping;
  auto written = mapping.write({.bytes = 32_KiB});  // from the owner's memory straight to the drive
  if (!written) return barter::print(written.error());
  auto pinned =
      machine->map(*region, "nvme1", {.access = barter::Access::read, .bytes = 16_KiB, .hold = barter::Hold::pinned});
  if (!pinned) return barter::print(pinned.error());

  std::promise<void> told;
  mapping.on_invalidate([&] { told.set_value(); });
  if (write(socket, "!", 1) != 1) return 1;
  if (told.get_future().wait_for(10s) != std::future_status::ready) return 1;
  auto late = mapping.write({.bytes = 32_KiB});
  return !late && late.error().code == barter::ErrorCode::revoked ? 0 : 1;
}

TEST(PeerGuide, AnotherProcess) {
  std::string name = std::filesystem::temp_directory_path() / "barter-guide-XXXXXX";
  const std::filesystem::path folder = mkdtemp(name.data());
  std::array<int, 2> ends{};
  std::array<int, 2> gate{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends.data()), 0);
  ASSERT_EQ(pipe(gate.data()), 0);
  // Before there are threads; they start once the broker serves.
  const auto start = [&](int (*play)(const std::filesystem::path&, int), int socket) {
    const pid_t child = fork();
    if (child != 0) return child;
    char go = 0;
    alarm(60);
    _exit(read(gate[0], &go, 1) == 1 ? play(folder / "broker", socket) : 3);
  };
  const pid_t owner = start(own_memory, ends[0]);
  const pid_t user = start(use_memory, ends[1]);
  EXPECT_EQ(share_machine(folder / "broker",
                          [&] {
                            EXPECT_EQ(write(gate[1], "!!", 2), 2);
                            for (const pid_t child : {owner, user}) {
                              int status = -1;
                              EXPECT_EQ(waitpid(child, &status, 0), child);
                              EXPECT_EQ(status, 0) << (child == owner ? "the owner" : "the user");
                            }
                          }),
            0);
  for (const int number : {ends[0], ends[1], gate[0], gate[1]}) close(number);
  std::filesystem::remove_all(folder);
}

}  // namespace
