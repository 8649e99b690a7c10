#include "linux/sharing/channel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "linux/sharing/region_descriptor.h"

namespace barter::linux_os::sharing {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

struct Folder {
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "barter-channel-XXXXXX";
    path = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

std::vector<std::byte> some(std::size_t count) { return std::vector<std::byte>(count, std::byte{7}); }

bool comes(const Channel& channel) {
  Watch watch{.number = channel.number()};
  return wait_for_any({&watch, 1}, 10s);
}

TEST(SharingChannel, PacketsStayWholeAndDescriptorsTravel) {
  auto [near, far] = std::move(*Channel::pair());
  std::vector<std::byte> buffer(100);
  EXPECT_EQ(far.receive(buffer)->kind, Packet::Kind::none);
  const auto descriptor = make_region_descriptor();
  ASSERT_TRUE(descriptor);
  ASSERT_TRUE(near.send(some(10)));
  ASSERT_TRUE(near.send(some(20), descriptor->number()));
  auto first = far.receive(buffer);
  EXPECT_EQ(first->bytes, 10u);
  EXPECT_FALSE(first->descriptor.is_open());
  auto second = far.receive(buffer);
  EXPECT_EQ(second->bytes, 20u);
  ASSERT_TRUE(second->descriptor.is_open());
  EXPECT_NE(second->descriptor.number(), descriptor->number());
  EXPECT_EQ(*identity_of(second->descriptor), *identity_of(*descriptor));
  near.shut();
  EXPECT_EQ(far.receive(buffer)->kind, Packet::Kind::end);
  EXPECT_EQ(far.send(some(1)).error().code, ErrorCode::device_gone);
}

TEST(SharingChannel, RefusesPacketsThatAreTooLongOrCarryTooMuch) {
  auto [near, far] = std::move(*Channel::pair());
  std::vector<std::byte> buffer(10);
  ASSERT_TRUE(near.send(some(11)));
  EXPECT_EQ(far.receive(buffer).error().code, ErrorCode::malformed);

  // As many as the receiver has room for, and more: all are closed again.
  const auto before = std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  for (const std::size_t count : {2u, 3u, 100u}) {
    std::array<int, 100> numbers{};
    numbers.fill(near.number());
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(numbers))> beside{};
    std::byte byte{};
    iovec piece{.iov_base = &byte, .iov_len = 1};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = beside.data();
    header.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* const rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(rights), numbers.data(), count * sizeof(int));
    ASSERT_EQ(sendmsg(near.number(), &header, 0), 1) << count;
    EXPECT_EQ(far.receive(buffer).error().code, ErrorCode::malformed) << count;
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}), before);
}

TEST(SharingChannel, NobodyWaitsForOneWhoDoesNotRead) {
  auto [near, far] = std::move(*Channel::pair());
  std::optional<Error> error;
  for (int count = 0; count < 10000 && !error; ++count)
    if (auto sent = near.send(some(4096)); !sent) error = sent.error();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, ErrorCode::exhausted);
}

TEST(SharingChannel, TellsWhoSendsAlsoWhenTheSocketWasInherited) {
  const Folder folder;
  auto listener = Listener::open(folder.path / "socket");
  ASSERT_TRUE(listener) << listener.error().message();
  auto client = Channel::connect(folder.path / "socket");
  ASSERT_TRUE(client);
  ASSERT_TRUE(client->send(some(1)));  // before it is accepted
  auto visitor = listener->accept();
  ASSERT_TRUE(visitor) << visitor.error().message();
  EXPECT_EQ(visitor->process, getpid());
  ASSERT_TRUE(visitor->process_end.is_open());
  std::vector<std::byte> buffer(10);
  ASSERT_TRUE(comes(visitor->channel));
  EXPECT_EQ(visitor->channel.receive(buffer)->sender, getpid());
  const pid_t child = fork();
  if (child == 0) _exit(client->send(some(2)) ? 0 : 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  const auto packet = visitor->channel.receive(buffer);
  EXPECT_EQ(packet->bytes, 2u);
  EXPECT_EQ(packet->sender, child);
}

TEST(SharingChannel, OnePlaceHasOneListener) {
  const Folder folder;
  const auto path = folder.path / "socket";
  EXPECT_EQ(Channel::connect(path).error().code, ErrorCode::not_found);
  {
    auto first = Listener::open(path);
    ASSERT_TRUE(first);
    const auto second = Listener::open(path);
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().message(), HasSubstr("another process shares one there"));
    EXPECT_EQ(std::filesystem::status(path).permissions() & std::filesystem::perms::all,
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  // What a killed process leaves behind.
  const pid_t child = fork();
  if (child == 0) {
    const auto left = Listener::open(path);
    kill(getpid(), SIGKILL);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  ASSERT_TRUE(std::filesystem::exists(path));
  EXPECT_EQ(Channel::connect(path).error().code, ErrorCode::not_found);
  EXPECT_TRUE(Listener::open(path));
  // A file that is no socket is nobody's to replace.
  std::filesystem::create_directory(path);
  EXPECT_THAT(Listener::open(path).error().message(), HasSubstr("something else is there"));
  EXPECT_EQ(Listener::open(folder.path / std::string(200, 'x')).error().code, ErrorCode::invalid_argument);
}

TEST(SharingRegionDescriptor, CanNeitherBeWrittenNorForged) {
  auto descriptor = make_region_descriptor();
  ASSERT_TRUE(descriptor);
  EXPECT_LT(write(descriptor->number(), "x", 1), 0);
  EXPECT_NE(ftruncate(descriptor->number(), 1), 0);
  EXPECT_NE(fcntl(descriptor->number(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  const Descriptor forged(memfd_create("barter-region", MFD_CLOEXEC));
  EXPECT_NE(*identity_of(forged), *identity_of(*descriptor));
  EXPECT_FALSE(identity_of(Descriptor()));
}

}  // namespace
}  // namespace barter::linux_os::sharing
