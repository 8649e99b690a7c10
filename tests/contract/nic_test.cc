// NICs by the public API: messages and remote memory accesses out of and into whatever a pointer points to, on the software machine,
// stepped and threaded, with an IOMMU and without.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/barter.hpp"
#include "machine/state.h"
#include "thread_sanitizer.h"

namespace {

using namespace barter::literals;
using barter::Access;
using barter::ErrorCode;
using barter::Hold;
using barter::PageState;
using barter::QueuePair;
using testing::HasSubstr;

// The built-in machine, with the lines changed that a test wants.
std::optional<barter::Machine> wired(const std::vector<std::pair<std::string, std::string>>& changes, bool threaded) {
  std::ifstream builtin(BARTER_SOURCE_DIR "/machines/wired.toml");
  std::string text{std::istreambuf_iterator<char>(builtin), {}};
  for (const auto& [from, to] : changes) {
    EXPECT_NE(text.find(from), std::string::npos) << from;
    text.replace(text.find(from), from.size(), to);
  }
  const std::string file = testing::TempDir() + "barter-nic-" + std::to_string(getpid()) + ".toml";
  std::ofstream(file) << text;
  auto machine = barter::Machine::open(file, {.threaded = threaded});
  std::filesystem::remove(file);
  EXPECT_TRUE(machine) << machine.error().message();
  return machine ? std::optional(std::move(*machine)) : std::nullopt;
}

std::byte byte(std::size_t at) { return static_cast<std::byte>(at * 13 + at / 4096 * 7); }
void fill(std::span<std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); ++at) bytes[at] = byte(at);
}
// The first byte that differs; none if all are as they were sent.
std::optional<std::size_t> difference(std::span<const std::byte> bytes, std::size_t first = 0) {
  for (std::size_t at = 0; at < bytes.size(); ++at)
    if (bytes[at] != byte(first + at)) return at;
  return std::nullopt;
}

class NicTest : public testing::TestWithParam<std::tuple<const char*, bool>> {
 protected:
  void SetUp() override {
    const auto [iommu, threaded] = GetParam();
    if (barter::contract::is_under_thread_sanitizer() && !threaded)
      GTEST_SKIP() << barter::contract::kNotUnderThreadSanitizer;
    machine_ = wired({{"iommu = \"off\"", std::string("iommu = \"") + iommu + "\""}}, threaded);
    ASSERT_TRUE(machine_);
    here_.emplace(std::move(*QueuePair::open(*machine_->nic("nic0"))));
    there_.emplace(std::move(*QueuePair::open(*machine_->nic("nic1"))));
    from_.emplace(std::move(*machine_->provider("gpu0")->allocate(4_MiB)));
    into_.emplace(std::move(*machine_->provider("gpu1")->allocate(4_MiB)));
    fill(from_->cpu_bytes());
  }
  [[nodiscard]] std::uint64_t through_host_memory() const { return machine_->state()->backend().traffic()->data_bytes; }
  std::optional<barter::Machine> machine_;
  std::optional<barter::Region> from_, into_;
  std::optional<QueuePair> here_, there_;
};

TEST_P(NicTest, SendsOutOfOneAcceleratorIntoAnotherWithNoByteInHostMemory) {
  ASSERT_TRUE(there_->post_receive(into_->cpu_bytes()));
  const auto sent = here_->send(from_->cpu_bytes().first(3_MiB));
  ASSERT_TRUE(sent) << sent.error().message();
  EXPECT_EQ(sent->direct_bytes, 3_MiB);
  const auto message = there_->receive();
  ASSERT_TRUE(message) << message.error().message();
  EXPECT_EQ(message->bytes, 3_MiB);
  EXPECT_EQ(message->way.direct_bytes, 4_MiB);
  EXPECT_EQ(difference(into_->cpu_bytes().first(3_MiB)), std::nullopt);
  EXPECT_EQ(through_host_memory(), 0u);
}

TEST_P(NicTest, TakesTheMemoryOfADrive) {
  const auto buffer = machine_->provider("nvme0")->allocate(1_MiB);
  ASSERT_TRUE(buffer) << buffer.error().message();
  fill(buffer->cpu_bytes());
  ASSERT_TRUE(there_->post_receive(into_->cpu_bytes()));
  const auto sent = here_->send(buffer->cpu_bytes());
  ASSERT_TRUE(sent) << sent.error().message();
  ASSERT_TRUE(there_->receive());
  EXPECT_EQ(difference(into_->cpu_bytes().first(1_MiB)), std::nullopt);
  EXPECT_EQ(through_host_memory(), 0u);
}

TEST_P(NicTest, TakesMixturesOfAllThatAPointerCanPointTo) {
  auto memory = barter::ManagedMemory::create(*machine_, 1_MiB, {.touch_deadline = 10s});
  if (!memory && (memory.error().code == ErrorCode::refused || memory.error().code == ErrorCode::unsupported))
    GTEST_SKIP() << "skipped: " << memory.error().message();
  ASSERT_TRUE(memory) << memory.error().message();
  fill(memory->bytes());
  ASSERT_TRUE(memory->move_to(*machine_->provider("gpu0"), {.offset = 256_KiB, .bytes = 256_KiB}));
  std::vector<std::byte> into(1_MiB);
  ASSERT_TRUE(there_->post_receive(std::span(into)));
  const auto sent = here_->send(memory->bytes());
  ASSERT_TRUE(sent) << sent.error().message();
  EXPECT_EQ(sent->direct_bytes, 256_KiB);
  EXPECT_EQ(sent->host_bytes, 768_KiB);
  EXPECT_EQ(sent->copied_bytes, 0u);
  const auto message = there_->receive();
  ASSERT_TRUE(message) << message.error().message();
  EXPECT_EQ(message->way.copied_bytes, 1_MiB) << "ordinary memory of the program";
  EXPECT_EQ(difference(into), std::nullopt);

  // And back, into pages that lie here and there.
  std::ranges::reverse(into);
  ASSERT_TRUE(here_->post_receive(memory->bytes()));
  const auto back = there_->send(std::as_bytes(std::span(into)));
  ASSERT_TRUE(back) << back.error().message();
  ASSERT_TRUE(here_->receive());
  EXPECT_TRUE(std::ranges::equal(memory->bytes(), into));
}

TEST_P(NicTest, OwnersWhoRefuseAreAskedAndTheBytesGoByWayOfABuffer) {
  auto gpu = *machine_->provider("gpu1");
  gpu.on_request([](const barter::Request&) { return barter::Answer::refuse("not today"); });
  ASSERT_TRUE(there_->post_receive(into_->cpu_bytes()));
  ASSERT_TRUE(here_->send(from_->cpu_bytes()));
  const auto message = there_->receive();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->way.copied_bytes, 4_MiB);
  EXPECT_THAT(message->way.why_copied, HasSubstr("not today"));
  EXPECT_EQ(difference(into_->cpu_bytes()), std::nullopt);
}

TEST_P(NicTest, MessagesComeInOrderAndWaitForTheirReceives) {
  EXPECT_EQ(there_->receive().error().code, ErrorCode::invalid_argument);
  ASSERT_TRUE(there_->post_receive(into_->cpu_bytes().first(1_MiB)));
  ASSERT_TRUE(there_->post_receive(into_->cpu_bytes().subspan(1_MiB, 1_MiB)));
  EXPECT_EQ(there_->receive(1ms).error().code, ErrorCode::timed_out);
  ASSERT_TRUE(here_->send(from_->cpu_bytes().first(100)));
  ASSERT_TRUE(here_->send(from_->cpu_bytes().subspan(100, 1_MiB)));
  EXPECT_EQ(there_->receive()->bytes, 100u);
  EXPECT_EQ(there_->receive()->bytes, 1_MiB);
  EXPECT_EQ(difference(into_->cpu_bytes().first(100)), std::nullopt);
  EXPECT_EQ(difference(into_->cpu_bytes().subspan(1_MiB, 1_MiB), 100), std::nullopt);

  auto impatient = QueuePair::open(*machine_->nic("nic0"), {.number = 3, .deadline = 1ms});
  ASSERT_TRUE(impatient);
  const auto nobody = impatient->send(from_->cpu_bytes().first(64));
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, ErrorCode::timed_out);
  EXPECT_THAT(nobody.error().message(), HasSubstr("no receive"));

  ASSERT_TRUE(there_->post_receive(into_->cpu_bytes().first(64)));
  const auto too_long = here_->send(from_->cpu_bytes().first(65));
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, ErrorCode::out_of_range);
  EXPECT_EQ(there_->receive().error().code, ErrorCode::out_of_range);
}

TEST_P(NicTest, PairsAreGivenOutByNumberAndGivenBack) {
  EXPECT_EQ(here_->number(), 0u);
  const auto nic = *machine_->nic("nic0");
  EXPECT_EQ(QueuePair::open(nic, {.number = 0}).error().code, ErrorCode::exhausted);
  EXPECT_EQ(QueuePair::open(nic, {.number = 99}).error().code, ErrorCode::out_of_range);
  std::vector<QueuePair> pairs;
  for (int more = 0; more < 3; ++more) pairs.push_back(std::move(*QueuePair::open(nic)));
  EXPECT_EQ(QueuePair::open(nic).error().code, ErrorCode::exhausted);
  pairs.pop_back();
  EXPECT_EQ(QueuePair::open(nic)->number(), 3u);
}

TEST_P(NicTest, TheOtherEndReadsAndWritesWhatItWasShown) {
  auto shown = there_->expose(into_->cpu_bytes(), {.access = Access::read_write});
  ASSERT_TRUE(shown) << shown.error().message();
  const std::uint32_t key = *shown->key();
  const auto written = here_->write(from_->cpu_bytes().first(2_MiB), {.key = key, .offset = 4096});
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(difference(into_->cpu_bytes().subspan(4096, 2_MiB)), std::nullopt);
  std::ranges::fill(from_->cpu_bytes(), std::byte{0});
  const auto read = here_->read({.key = key, .offset = 4096 + 100}, from_->cpu_bytes().first(1_MiB));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(difference(from_->cpu_bytes().first(1_MiB), 100), std::nullopt);
  EXPECT_EQ(through_host_memory(), 0u);

  const auto beyond = here_->read({.key = key, .offset = 4_MiB - 8}, from_->cpu_bytes().first(16));
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code, ErrorCode::refused);
  auto for_reading = there_->expose(into_->cpu_bytes(), {.access = Access::read});
  ASSERT_TRUE(for_reading);
  EXPECT_EQ(here_->write(from_->cpu_bytes().first(16), {.key = *for_reading->key()}).error().code, ErrorCode::refused);
  EXPECT_TRUE(here_->read({.key = *for_reading->key()}, from_->cpu_bytes().first(16)));

  {
    const auto gone = std::move(*shown);
  }
  EXPECT_EQ(here_->read({.key = key}, from_->cpu_bytes().first(16)).error().code, ErrorCode::refused) << "withdrawn";
  std::vector<std::byte> ordinary(4096);
  EXPECT_EQ(there_->expose(ordinary).error().code, ErrorCode::unsupported);
}

// Registered memory is in use by nobody who could be told: taking it back takes the key, and waits for no deadline.
TEST_P(NicTest, OwnersTakeBackWhatWasShownAtOnce) {
  auto shown = there_->expose(into_->cpu_bytes(), {.access = Access::write});
  ASSERT_TRUE(shown);
  const std::uint32_t key = *shown->key();
  EXPECT_TRUE(shown->is_shown());
  const auto taken = into_->invalidate({.deadline = 10s});
  ASSERT_TRUE(taken) << taken.error().message();
  EXPECT_THAT(taken->late, testing::IsEmpty());
  EXPECT_FALSE(shown->is_shown());
  EXPECT_EQ(here_->write(from_->cpu_bytes().first(16), {.key = key}).error().code, ErrorCode::refused);
  const auto anew = shown->key();
  ASSERT_TRUE(anew) << anew.error().message();
  EXPECT_NE(*anew, key);
  EXPECT_TRUE(here_->write(from_->cpu_bytes(), {.key = *anew}));
  EXPECT_EQ(difference(into_->cpu_bytes()), std::nullopt);
  const auto revoked = into_->revoke({.deadline = 10s});
  ASSERT_TRUE(revoked);
  EXPECT_THAT(revoked->late, testing::IsEmpty());
  EXPECT_EQ(shown->key().error().code, ErrorCode::revoked);
  EXPECT_EQ(here_->write(from_->cpu_bytes().first(16), {.key = *anew}).error().code, ErrorCode::refused);

  auto pinned = here_->expose(from_->cpu_bytes(), {.access = Access::read, .hold = Hold::pinned});
  ASSERT_TRUE(pinned);
  EXPECT_EQ(from_->invalidate().error().code, ErrorCode::pinned);
  EXPECT_TRUE(pinned->is_shown());
}

// Pages that move while the other end writes to them: a write is done, or refused since its key is gone.
TEST_P(NicTest, ManagedMemoryMovesUnderItsKey) {
  auto memory = barter::ManagedMemory::create(*machine_, 1_MiB, {.touch_deadline = 10s});
  if (!memory && (memory.error().code == ErrorCode::refused || memory.error().code == ErrorCode::unsupported))
    GTEST_SKIP() << "skipped: " << memory.error().message();
  ASSERT_TRUE(memory);
  auto shown = there_->expose(memory->bytes(), {.access = Access::write});
  ASSERT_TRUE(shown) << shown.error().message();
  const std::uint32_t before = *shown->key();
  ASSERT_TRUE(here_->write(from_->cpu_bytes().first(1_MiB), {.key = before}));
  ASSERT_TRUE(memory->move_to(*machine_->provider("gpu1")));
  EXPECT_EQ(here_->write(from_->cpu_bytes().first(16), {.key = before}).error().code, ErrorCode::refused);
  EXPECT_EQ(difference(memory->bytes()), std::nullopt) << "a touch brings the pages back";
  ASSERT_TRUE(memory->move_to(*machine_->provider("gpu1")));
  const auto key = shown->key();
  ASSERT_TRUE(key) << key.error().message();
  ASSERT_TRUE(here_->write(from_->cpu_bytes().subspan(100, 1_MiB), {.key = *key}));
  EXPECT_EQ(difference(memory->bytes(), 100), std::nullopt);
}

// An owner in a thread of its own takes the memory back, again and again, while the other end writes to it.
TEST_P(NicTest, TakingBackUnderAStreamOfWritesNeverWaitsForTheDeadline) {
  if (!std::get<1>(GetParam())) GTEST_SKIP() << "skipped: one thread at a time uses a machine that is stepped";
  auto shown = there_->expose(into_->cpu_bytes(), {.access = Access::write});
  ASSERT_TRUE(shown);
  std::atomic<bool> is_over = false;
  std::atomic<std::uint32_t> late = 0, rounds = 0;
  std::thread owner([&] {
    while (!is_over) {
      const auto taken = into_->invalidate({.deadline = 10s});
      if (!taken || !taken->late.empty()) ++late;
      ++rounds;
      std::this_thread::yield();
    }
  });
  std::uint32_t done = 0, refused = 0;
  while (done < 20 || rounds < 20) {
    const auto key = shown->key();
    if (!key) {
      EXPECT_EQ(key.error().code, ErrorCode::timed_out) << key.error().message();
      continue;
    }
    const auto written = here_->write(from_->cpu_bytes().first(256_KiB), {.key = *key});
    ++(written ? done : refused);
    if (!written) {
      ASSERT_EQ(written.error().code, ErrorCode::refused) << written.error().message();
    }
  }
  is_over = true;
  owner.join();
  EXPECT_EQ(late, 0u);
  const auto key = shown->key();
  ASSERT_TRUE(key && here_->write(from_->cpu_bytes().first(256_KiB), {.key = *key}));
  EXPECT_EQ(difference(into_->cpu_bytes().first(256_KiB)), std::nullopt);
}

// What a posted receive keeps in use, nobody else can end: its owner waits, and then cuts the NIC off. No byte lands.
TEST_P(NicTest, AReceiveThatNobodyEndsIsCutOff) {
  ASSERT_TRUE(there_->post_receive(into_->cpu_bytes()));
  const std::vector<std::byte> before(into_->cpu_bytes().begin(), into_->cpu_bytes().end());
  const auto revoked = into_->revoke({.deadline = 1ms});
  ASSERT_TRUE(revoked) << revoked.error().message();
  EXPECT_THAT(revoked->late, testing::ElementsAre(machine_->nic("nic1")->bdf()));
  EXPECT_FALSE(here_->send(from_->cpu_bytes()));
  EXPECT_TRUE(std::ranges::equal(into_->cpu_bytes(), before));
}

TEST_P(NicTest, AnEndThatLeavesIsAnErrorAtBoth) {
  auto shown = there_->expose(into_->cpu_bytes(), {.access = Access::read_write});
  ASSERT_TRUE(shown);
  ASSERT_TRUE(there_->post_receive(into_->cpu_bytes()));
  ASSERT_TRUE(machine_->state()->unplug(machine_->nic("nic1")->unit()));
  const auto sent = here_->send(from_->cpu_bytes());
  ASSERT_FALSE(sent);
  EXPECT_THAT(sent.error().message(), HasSubstr("wire"));
  EXPECT_FALSE(here_->write(from_->cpu_bytes().first(16), {.key = 1}));
  EXPECT_EQ(there_->receive(1s).error().code, ErrorCode::device_gone);
  EXPECT_EQ(there_->post_receive(into_->cpu_bytes()).error().code, ErrorCode::device_gone);
  EXPECT_FALSE(shown->is_shown());
  EXPECT_TRUE(into_->revoke()) << "the others go on";
}

// What was posted to a pair that has failed can't end any more, and keeps nothing in use.
TEST_P(NicTest, AResetBehindItsBackEndsAPairAndItsReceives) {
  const auto [iommu, threaded] = GetParam();
  if (!threaded || std::string_view(iommu) == "off")
    GTEST_SKIP() << "skipped: the driver's time limit is half a minute, and many steps";
  ASSERT_TRUE(there_->post_receive(into_->cpu_bytes()));
  ASSERT_TRUE(machine_->state()->backend().reset(machine_->nic("nic1")->unit()));
  const auto received = there_->receive(60s);
  ASSERT_FALSE(received);
  EXPECT_EQ(there_->receive(60s).error().message(), received.error().message()) << "and not that nothing was posted";
  const auto revoked = into_->revoke();
  ASSERT_TRUE(revoked) << revoked.error().message();
  EXPECT_THAT(revoked->late, testing::IsEmpty());
}

TEST_P(NicTest, HandlesAreThere) {
  EXPECT_EQ(machine_->nic_names(), (std::vector<std::string>{"nic0", "nic1"}));
  EXPECT_EQ(machine_->nic("gpu0").error().code, ErrorCode::not_found);
  EXPECT_THAT(machine_->provider("nic0").error().message(), HasSubstr("no memory of its own"));
  const auto two_nvme = barter::Machine::open("two-nvme");
  EXPECT_THAT(two_nvme->nic("x").error().message(), HasSubstr("such as wired"));
  const auto mapping = machine_->nic("nic0")->map(*from_, {.access = Access::read});
  ASSERT_TRUE(mapping);
  const auto lease = mapping->lease();
  ASSERT_TRUE(there_->post_receive(into_->cpu_bytes()));
  EXPECT_TRUE(here_->send({&*lease, 1}));
  EXPECT_EQ(there_->receive()->bytes, 4_MiB);
  EXPECT_FALSE(there_->send({&*lease, 1})) << "another NIC's";
}

INSTANTIATE_TEST_SUITE_P(Machines, NicTest, testing::Combine(testing::Values("off", "translate"), testing::Bool()),
                         [](const auto& param) {
                           return std::string(std::get<0>(param.param) == std::string("off") ? "NoIommu" : "Iommu") +
                                  (std::get<1>(param.param) ? "Threaded" : "Stepped");
                         });

// Importers whose lists and addresses have limits of their own (docs/devices/nic.md, LISTS).

TEST(NicLimits, NoSegmentCrossesTheBoundary) {
  const auto machine = wired({{"[[nic]]\nname = \"nic0\"", "[[nic]]\nboundary = \"64 KiB\"\nname = \"nic0\""}}, false);
  ASSERT_TRUE(machine);
  auto here = QueuePair::open(*machine->nic("nic0"));
  auto there = QueuePair::open(*machine->nic("nic1"));
  const auto from = machine->provider("gpu0")->allocate(4_MiB);
  const auto into = machine->provider("gpu1")->allocate(4_MiB);
  fill(from->cpu_bytes());
  ASSERT_TRUE(there->post_receive(into->cpu_bytes()));
  // 60 pieces of 64 KiB and two ends: the model refuses lists that cross.
  const auto sent = here->send(from->cpu_bytes().subspan(100, 60 * 64_KiB));
  ASSERT_TRUE(sent) << sent.error().message();
  ASSERT_TRUE(there->receive());
  EXPECT_EQ(difference(into->cpu_bytes().first(60 * 64_KiB), 100), std::nullopt);
}

TEST(NicLimits, ShortListsAreManyAccessesAndNoMessage) {
  const auto machine =
      wired({{"[[nic]]\nname = \"nic0\"", "[[nic]]\nboundary = \"64 KiB\"\nsegments = 3\nname = \"nic0\""}}, false);
  ASSERT_TRUE(machine);
  auto here = QueuePair::open(*machine->nic("nic0"));
  auto there = QueuePair::open(*machine->nic("nic1"));
  const auto from = machine->provider("gpu0")->allocate(4_MiB);
  const auto into = machine->provider("gpu1")->allocate(4_MiB);
  fill(from->cpu_bytes());
  auto shown = there->expose(into->cpu_bytes(), {.access = Access::write});
  ASSERT_TRUE(shown);
  const auto written = here->write(from->cpu_bytes(), {.key = *shown->key()});
  ASSERT_TRUE(written) << written.error().message();
  EXPECT_EQ(difference(into->cpu_bytes()), std::nullopt);
  const auto sent = here->send(from->cpu_bytes());
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::out_of_range);
}

// An IOMMU's addresses have 48 bits here, and 32 reach no memory of a machine whose windows lie above 4 GiB.
TEST(NicLimits, MemoryAboveItsAddressesIsNotMappedAndSaysSo) {
  for (const auto& [iommu, bits, works] : {std::tuple("translate", 47, false), std::tuple("translate", 48, true),
                                           std::tuple("off", 32, false), std::tuple("off", 47, true)}) {
    const auto machine =
        wired({{"iommu = \"off\"", std::string("iommu = \"") + iommu + "\""},
               {"name = \"rc0\"", "name = \"rc0\"\nturns_reads = true\nturns_writes = true"},
               {"[[nic]]\nname = \"nic0\"", "[[nic]]\naddress_bits = " + std::to_string(bits) + "\nname = \"nic0\""}},
              false);
    ASSERT_TRUE(machine);
    // Of the other box: by way of the host bridge, so that an IOMMU translates.
    const auto far = machine->provider("gpu1")->allocate(64_KiB);
    const auto mapping = machine->nic("nic0")->map(*far, {.access = Access::read});
    EXPECT_EQ(mapping.has_value(), works) << iommu << bits;
    if (mapping) continue;
    EXPECT_EQ(mapping.error().code, ErrorCode::unsupported);
    EXPECT_THAT(mapping.error().message(), HasSubstr(std::to_string(bits) + " bits"));
  }
}

}  // namespace
