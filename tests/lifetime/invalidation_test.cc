// The ten scenarios of GDRCopy's invalidation tests, under their names there. Each asks the same: may a process reach memory
// by something that it had before, or that another process has? There, memory is read through a mapping of the CPU; here, by a
// drive's DMA, and by the messages that a client may send.
#include <sys/mman.h>

#include <fmt/format.h>

#include "linux/sharing/region_descriptor.h"
#include "processes.h"

namespace barter::lifetime {
namespace {

using namespace linux_os::sharing;

constexpr std::size_t kBytes = 64_KiB;

class GdrCopyInvalidation : public Lifetime {
 protected:
  void SetUp() override {
    open();
    put("nvme1", kBytes, 1);
  }
  [[nodiscard]] std::vector<std::byte> on_nvme1() {
    std::vector<std::byte> found(kBytes);
    const auto lock = broker->hold_machine();
    EXPECT_TRUE(read(*machine->drive("nvme1"), {}, found));
    return found;
  }
  // A message as another process is told to send it.
  static std::string posted(Body body) {
    std::string line = "post";
    for (const std::byte byte : encode({77, std::move(body)})) line += fmt::format(" {:x}", std::to_integer<int>(byte));
    return line;
  }
};

TEST_F(GdrCopyInvalidation, access_after_free) {
  Process owner(place()), user(place()), next(place());
  const std::string where = owner.ask("allocate a nvme0 65536");
  ASSERT_THAT(where, StartsWith("ok"));
  owner.pass("a", user);
  ASSERT_EQ(user.ask("map m a nvme1 read_write"), "ok bus_address");
  ASSERT_EQ(user.ask("read m 0 65536 0"), "ok");
  EXPECT_EQ(owner.ask("check a 1"), "ok");
  ASSERT_EQ(owner.ask("drop a"), "ok");

  ASSERT_EQ(next.ask("allocate b nvme0 65536"), where) << "the test needs the same memory to have a new owner";
  ASSERT_EQ(next.ask("fill b 9"), "ok");
  EXPECT_EQ(user.ask("told m"), "ok");
  EXPECT_THAT(user.ask("read m 0 65536 0"), StartsWith("error revoked"));
  EXPECT_THAT(user.ask("write m 0 65536 0"), StartsWith("error revoked"));
  EXPECT_THAT(user.ask("lease l m"), StartsWith("error revoked"));
  EXPECT_THAT(user.ask("map n a nvme1 write"), StartsWith("error not_found"));
  EXPECT_EQ(next.ask("check b 9"), "ok");
  EXPECT_EQ(on_nvme1(), pattern(kBytes, 1)) << "the new owner's bytes went to a drive";
}

TEST_F(GdrCopyInvalidation, access_after_gdr_close) {
  Process owner(place());
  ASSERT_THAT(owner.ask("allocate a nvme0 65536"), StartsWith("ok"));
  ASSERT_EQ(owner.ask("descriptor a"), "ok");
  const Descriptor region = std::move(owner.descriptor);
  std::uint64_t mapping = 0;
  std::uint64_t lease = 0;
  {
    Raw raw = Raw::greeted(place());
    const auto mapped = raw.call<Mapped>(Map{.importer = "nvme1"}, region.number());
    ASSERT_TRUE(mapped) << raw.error.message();
    mapping = mapped->mapping;
    const auto leased = raw.call<Leased>(TakeLease{mapping});
    ASSERT_TRUE(leased);
    lease = leased->lease;
    ASSERT_TRUE(raw.call<Moved>(Move{.mapping = mapping}));
    EXPECT_EQ(owner.ask("check a 1"), "ok");
  }
  ASSERT_TRUE(before_long([&] { return broker->counters().mappings == 0 && broker->counters().leases == 0; }));
  ASSERT_EQ(owner.ask("fill a 5"), "ok");
  Raw again = Raw::greeted(place());
  EXPECT_FALSE(again.call<Moved>(Move{.mapping = mapping}));
  EXPECT_EQ(again.error.code, ErrorCode::not_found);
  EXPECT_FALSE(again.call<Leased>(TakeLease{mapping}));
  EXPECT_EQ(again.error.code, ErrorCode::not_found);
  again.send(EndLease{lease});
  EXPECT_FALSE(again.call<Done>(Unmap{mapping}));
  EXPECT_EQ(owner.ask("check a 5"), "ok");
}

TEST_F(GdrCopyInvalidation, two_mappings) {
  Process owner(place()), user(place());
  ASSERT_THAT(owner.ask("allocate a nvme0 65536"), StartsWith("ok"));
  ASSERT_THAT(owner.ask("allocate b nvme0 65536"), StartsWith("ok"));
  owner.pass("a", user);
  owner.pass("b", user);
  ASSERT_THAT(user.ask("map ma a nvme1 write"), StartsWith("ok"));
  ASSERT_THAT(user.ask("map mb b nvme1 write"), StartsWith("ok"));
  ASSERT_EQ(user.ask("read ma 0 65536 0"), "ok");
  ASSERT_EQ(owner.ask("drop a"), "ok");
  EXPECT_THAT(user.ask("read ma 0 65536 0"), StartsWith("error revoked"));
  EXPECT_EQ(user.ask("read mb 0 65536 0"), "ok");
  EXPECT_EQ(owner.ask("check b 1"), "ok");
}

// The one that frees must not be able to spy on the one that comes after it.
TEST_F(GdrCopyInvalidation, fork_access_after_free) {
  Process parent(place()), child(place());
  const std::string where = parent.ask("allocate a nvme0 65536");
  ASSERT_THAT(parent.ask("map m a nvme1 read"), StartsWith("ok"));
  ASSERT_EQ(parent.ask("drop a"), "ok");
  ASSERT_EQ(child.ask("allocate b nvme0 65536"), where);
  ASSERT_THAT(child.ask("map n b nvme1 write"), StartsWith("ok"));
  ASSERT_EQ(child.ask("fill b 2"), "ok");
  EXPECT_THAT(parent.ask("write m 0 65536 0"), StartsWith("error revoked"));
  EXPECT_EQ(on_nvme1(), pattern(kBytes, 1));
}

TEST_F(GdrCopyInvalidation, fork_after_gdr_map) {
  Process parent(place());
  ASSERT_THAT(parent.ask("allocate a nvme0 65536"), StartsWith("ok"));
  ASSERT_THAT(parent.ask("map m a nvme1 write"), StartsWith("ok"));
  EXPECT_EQ(parent.ask("fork-and-use a m"), "ok");
  // What the child had and lost is still the parent's.
  EXPECT_EQ(parent.ask("read m 0 65536 0"), "ok");
  EXPECT_EQ(parent.ask("check a 1"), "ok");
  EXPECT_EQ(broker->counters().foreign, 0u);
}

TEST_F(GdrCopyInvalidation, fork_child_gdr_map_parent) {
  Process parent(place());
  ASSERT_THAT(parent.ask("allocate a nvme0 65536"), StartsWith("ok"));
  EXPECT_EQ(parent.ask("fork-and-use a none"), "ok");
  EXPECT_THAT(parent.ask("map m a nvme1 write"), StartsWith("ok"));

  // The same for a child that does not ask the library, but writes to the socket that it has inherited.
  Raw raw = Raw::greeted(place());
  const auto request = encode({5, Allocate{.provider = "nvme0", .bytes = 4096, .alignment = 4096}});
  const pid_t child = fork();
  if (child == 0) {
    raw.send_bytes(request);
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(before_long([&] { return broker->counters().foreign == 1; }));
  EXPECT_EQ(broker->counters().regions, 1u);
  EXPECT_TRUE(raw.call<Allocated>(Allocate{.provider = "nvme0", .bytes = 4096, .alignment = 4096}));
}

TEST_F(GdrCopyInvalidation, fork_map_and_free) {
  Process parent(place()), child(place());
  for (Process* const each : {&parent, &child}) {
    ASSERT_THAT(each->ask("allocate a nvme0 65536"), StartsWith("ok"));
    ASSERT_THAT(each->ask("map m a nvme1 write"), StartsWith("ok"));
    ASSERT_EQ(each->ask("read m 0 65536 0"), "ok");
  }
  ASSERT_EQ(child.ask("drop a"), "ok");
  EXPECT_EQ(parent.ask("check a 1"), "ok");
  EXPECT_EQ(parent.ask("read m 0 65536 0"), "ok");
  EXPECT_THAT(child.ask("read m 0 65536 0"), StartsWith("error revoked"));
}

TEST_F(GdrCopyInvalidation, unix_sock_shared_fd_gdr_pin_buffer) {
  Raw raw = Raw::greeted(place());
  Process other;
  ASSERT_EQ(other.ask(posted(Allocate{.provider = "nvme0", .bytes = 4096, .alignment = 4096}), raw.channel().number()),
            "ok");
  // Messages arrive in order: the answer to this one would come after one to the other process's.
  EXPECT_TRUE(raw.call<Allocated>(Allocate{.provider = "nvme0", .bytes = 4096, .alignment = 4096}));
  EXPECT_EQ(broker->counters().foreign, 1u);
  EXPECT_EQ(broker->counters().regions, 1u);
}

TEST_F(GdrCopyInvalidation, unix_sock_shared_fd_gdr_map) {
  Raw raw = Raw::greeted(place());
  const auto region = raw.call<Allocated>(Allocate{.provider = "nvme0", .bytes = 65536, .alignment = 4096});
  ASSERT_TRUE(region);
  const auto mapped = raw.call<Mapped>(Map{.importer = "nvme1"}, raw.descriptor.number());
  ASSERT_TRUE(mapped) << raw.error.message();
  Process other;
  ASSERT_EQ(other.ask(posted(Move{.mapping = mapped->mapping}), raw.channel().number()), "ok");
  ASSERT_EQ(other.ask(posted(Free{region->region}), raw.channel().number()), "ok");
  const auto found = raw.call<Contents>(Peek{.region = region->region, .bytes = 16});
  ASSERT_TRUE(found) << "the region is gone: " << raw.error.message();
  EXPECT_NE(found->bytes, pattern(16, 1)) << "the other process has had bytes of the drive put there";
  EXPECT_EQ(broker->counters().foreign, 2u);
}

// Numbers can be guessed, and so can everything else that a process can make for itself.
TEST_F(GdrCopyInvalidation, fork_child_gdr_pin_parent_with_tokens) {
  Process parent(place());
  ASSERT_THAT(parent.ask("allocate a nvme0 65536"), StartsWith("ok"));
  ASSERT_EQ(parent.ask("fill a 3"), "ok");
  Raw child = Raw::greeted(place());
  for (std::uint64_t guess = 0; guess < 100; ++guess) {
    EXPECT_FALSE(child.call<Contents>(Peek{.region = guess, .bytes = 16}));
    EXPECT_EQ(child.error.code, ErrorCode::not_found);
    EXPECT_FALSE(child.call<Done>(Poke{.region = guess, .bytes = pattern(16, 9)}));
    EXPECT_FALSE(child.call<TakenBack>(TakeBack{.region = guess}));
    EXPECT_FALSE(child.call<Done>(Free{guess}));
    EXPECT_FALSE(child.call<Moved>(Move{.mapping = guess}));
  }
  const Descriptor twin(memfd_create("barter-region", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(fcntl(twin.number(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL), 0);
  auto ours = make_region_descriptor();
  const Descriptor file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (const int forged : {twin.number(), ours->number(), file.number(), child.channel().number()}) {
    EXPECT_FALSE(child.call<Mapped>(Map{.importer = "nvme1"}, forged));
    EXPECT_EQ(child.error.code, ErrorCode::not_found);
    EXPECT_THAT(child.error.message(), HasSubstr("stands for no region"));
  }
  EXPECT_EQ(broker->counters().refused_descriptors, 4u);
  EXPECT_EQ(parent.ask("check a 3"), "ok");
}

}  // namespace
}  // namespace barter::lifetime
