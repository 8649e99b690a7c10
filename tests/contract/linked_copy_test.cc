// Copies from accelerator to accelerator through the public face, with a link between the two: which way the bytes went is
// counted, and what becomes of them when the link goes down, the owner takes back or a device leaves in mid-copy.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <functional>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/barter.hpp"
#include "drivers/accelerator/accelerator.h"
#include "drivers/accelerator/links.h"
#include "machine/state.h"
#include "thread_sanitizer.h"

namespace {

using namespace barter::literals;
using barter::Access;
using barter::Answer;
using barter::P2p;
using barter::Placement;
using barter::Route;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Two accelerators below one switch, which also know the way on PCIe.
std::string file_of_switched() {
  const std::string file = testing::TempDir() + "barter-switched-and-linked.toml";
  std::ofstream(file) << R"(
name = "switched-and-linked"
[[root_complex]]
name = "rc0"
[[root_port]]
name = "rp0"
below = "rc0"
[[switch]]
name = "sw0"
below = "rp0"
ports = 2
[[accelerator]]
name = "gpu0"
below = "sw0.0"
memory = "64 MiB"
[[accelerator]]
name = "gpu1"
below = "sw0.1"
memory = "64 MiB"
[[link]]
between = ["gpu0", "gpu1"]
)";
  return file;
}

class LinkedCopy : public testing::TestWithParam<bool> {
 protected:
  explicit LinkedCopy(const std::string& name = "linked")
      : machine_(std::move(*barter::Machine::open(name, {.threaded = GetParam()}))),
        gpu0_(std::move(*machine_.accelerator("gpu0"))),
        gpu1_(std::move(*machine_.accelerator("gpu1"))),
        near_(allocate(gpu0_)),
        far_(allocate(gpu1_)) {
    for (const barter::Region* region : {&near_, &far_}) {
      auto bytes = region->cpu_bytes();
      for (std::size_t at = 0; at < bytes.size(); ++at)
        bytes[at] = static_cast<std::byte>(at * (region == &near_ ? 7 : 11) + at / 251);
    }
  }
  static barter::Region allocate(const barter::Accelerator& accelerator) {
    return std::move(*accelerator.memory()->allocate(8_MiB));
  }
  barter::machine::Backend& backend() { return machine_.state()->backend(); }
  void set_link(bool up) { EXPECT_TRUE(backend().set_device_link(gpu0_.unit(), gpu1_.unit(), up)); }
  [[nodiscard]] bool are_equal() const { return std::ranges::equal(near_.cpu_bytes(), far_.cpu_bytes()); }
  // A copy from near to far, interrupted when half of it has arrived.
  barter::Result<barter::MemoryCopyReport> copy_and_then(std::function<void()> what, P2p policy = P2p::preferred) {
    return barter::copy_memory(gpu0_, near_, far_,
                               {.policy = policy, .progress = [what = std::move(what)](barter::CopyProgress progress) {
                                  if (progress.done_bytes == 4_MiB) what();
                                }});
  }

  barter::Machine machine_;
  barter::Accelerator gpu0_, gpu1_;
  barter::Region near_, far_;
};
class LinkedCopyBelowASwitch : public LinkedCopy {
 protected:
  LinkedCopyBelowASwitch() : LinkedCopy(file_of_switched()) {}
};

TEST_P(LinkedCopy, GoesByTheLinkAndNothingElseMoves) {
  const auto pushed = barter::copy_memory(gpu0_, near_, far_, {.policy = P2p::required});
  ASSERT_TRUE(pushed) << pushed.error().message();
  EXPECT_EQ(pushed->link_bytes, 8_MiB);
  EXPECT_EQ(pushed->bus_bytes + pushed->own_bytes + pushed->host_bytes, 0u);
  EXPECT_THAT(pushed->fallbacks, IsEmpty());
  EXPECT_TRUE(are_equal());
  std::ranges::fill(near_.cpu_bytes(), std::byte{0});
  const auto pulled = barter::copy_memory(gpu0_, far_, near_, {.policy = P2p::required, .chunk_bytes = 1_MiB + 4097});
  ASSERT_TRUE(pulled) << pulled.error().message();
  EXPECT_EQ(pulled->link_bytes, 8_MiB);
  EXPECT_TRUE(are_equal());
  // What the machine has counted: exactly that, and nothing on PCIe or in host memory.
  const auto moved = gpu0_.unit().accelerator->links().traffic(0);
  EXPECT_EQ(moved.written_bytes, 8_MiB);
  EXPECT_EQ(moved.read_bytes, 8_MiB);
  EXPECT_EQ(gpu1_.unit().accelerator->links().traffic(0).read_bytes, 0u);
  const auto traffic = backend().traffic();
  ASSERT_TRUE(traffic);
  EXPECT_EQ(traffic->data_bytes, 0u);
  EXPECT_EQ(traffic->peer_bytes, 0u);
  EXPECT_EQ(gpu1_.unit().accelerator->links().granted(0), 0u) << "nothing stays open";
}

std::uint64_t sum_of(std::span<const std::uint32_t> words) {
  return std::accumulate(words.begin(), words.end(), std::uint64_t{0});
}

// The page tables of one name memory of the other behind the link; PCIe joins the two by nothing.
TEST_P(LinkedCopy, AnAcceleratorComputesOnWhatLiesBehindTheLink) {
  const auto far = barter::words_of<std::uint32_t>(far_.cpu_bytes());
  const std::uint64_t expected = sum_of(far);
  const auto sum = barter::compute::sum(gpu0_, far, {.placement = Placement::stay});
  ASSERT_TRUE(sum) << sum.error().message();
  EXPECT_EQ(*sum, expected);
  EXPECT_EQ(gpu0_.unit().accelerator->links().traffic(0).read_bytes, 8_MiB);
  const auto near = barter::words_of<std::uint32_t>(near_.cpu_bytes());
  ASSERT_TRUE(barter::compute::add(gpu0_, near, far, far, {.placement = Placement::stay}));
  EXPECT_EQ(sum_of(far) & 0xffffffff, (expected + sum_of(near)) & 0xffffffff);
  const auto traffic = backend().traffic();
  ASSERT_TRUE(traffic);
  EXPECT_EQ(traffic->data_bytes + traffic->peer_bytes, 0u);
  // Down, there is no way, and the answer says why; up again, there is.
  set_link(false);
  const auto refused = barter::compute::sum(gpu0_, far, {.placement = Placement::stay});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, barter::ErrorCode::no_route);
  EXPECT_THAT(refused.error().message(), HasSubstr("is down"));
  set_link(true);
  EXPECT_TRUE(barter::compute::sum(gpu0_, far, {.placement = Placement::stay}));
  EXPECT_NE(gpu1_.unit().accelerator->links().granted(0), 0u) << "what was shown stays shown";
  ASSERT_TRUE(far_.invalidate());
  EXPECT_EQ(gpu1_.unit().accelerator->links().granted(0), 0u) << "until it is taken back";
  EXPECT_EQ(*barter::compute::sum(gpu0_, far, {.placement = Placement::stay}), sum_of(far));
}

TEST_P(LinkedCopyBelowASwitch, ComputingGoesOnByPcieWhenTheLinkGoesDown) {
  const auto far = barter::words_of<std::uint32_t>(far_.cpu_bytes());
  const std::uint64_t expected = sum_of(far);
  EXPECT_EQ(*barter::compute::sum(gpu0_, far, {.placement = Placement::stay}), expected);
  EXPECT_EQ(backend().traffic()->peer_bytes, 0u);
  set_link(false);
  const auto sum = barter::compute::sum(gpu0_, far, {.placement = Placement::stay});
  ASSERT_TRUE(sum) << sum.error().message();
  EXPECT_EQ(*sum, expected);
  EXPECT_EQ(backend().traffic()->peer_bytes, 8_MiB);
}

// Managed pages that one accelerator holds and the other computes on.
TEST_P(LinkedCopy, ManagedPagesThatStayAreReachedByTheLink) {
  if (barter::contract::is_under_thread_sanitizer() && !GetParam())
    GTEST_SKIP() << barter::contract::kNotUnderThreadSanitizer;
  auto memory = barter::ManagedMemory::create(machine_, 2_MiB, {.touch_deadline = 10s});
  if (!memory &&
      (memory.error().code == barter::ErrorCode::refused || memory.error().code == barter::ErrorCode::unsupported))
    GTEST_SKIP() << "skipped: " << memory.error().message();
  ASSERT_TRUE(memory) << memory.error().message();
  const auto words = barter::words_of<std::uint32_t>(memory->bytes());
  std::iota(words.begin(), words.end(), 77u);
  const std::uint64_t expected = sum_of(words);
  ASSERT_TRUE(memory->move_to(*gpu1_.memory(), {.offset = 1_MiB, .bytes = 1_MiB}));
  EXPECT_EQ(*barter::compute::sum(gpu0_, words, {.placement = Placement::stay}), expected);
  EXPECT_EQ(gpu0_.unit().accelerator->links().traffic(0).read_bytes, 1_MiB);
  // They go home while they are shown by the link, and with them what was written there.
  ASSERT_TRUE(barter::compute::fill(gpu0_, barter::words_of<std::uint64_t>(memory->bytes()), 3,
                                    {.placement = Placement::stay}));
  ASSERT_TRUE(memory->move_to_host());
  EXPECT_EQ(gpu1_.unit().accelerator->links().granted(0), 0u);
  EXPECT_EQ(sum_of(words), 3u * (2_MiB / 8));
}

TEST_P(LinkedCopy, AMappingSaysItsWayAndItsSegmentsAreNoBusAddresses) {
  const auto mapping = gpu0_.map(far_, {.access = Access::read});
  ASSERT_TRUE(mapping) << mapping.error().message();
  EXPECT_EQ(mapping->route(), Route::link);
  const auto lease = mapping->lease();
  ASSERT_TRUE(lease);
  ASSERT_THAT(lease->segments(), SizeIs(1));
  EXPECT_EQ(lease->segments()[0].kind, barter::SegmentKind::link);
  EXPECT_EQ(lease->segments()[0].bytes, 8_MiB);
  // A drive of the machine, which no link joins to anything, has PCIe's way: none.
  EXPECT_EQ(machine_.drive("nvme0")->map(far_).error().code, barter::ErrorCode::no_route);
  EXPECT_EQ(machine_.best_route({.client = gpu0_, .provider = gpu1_}).by, "link");
  EXPECT_EQ(machine_.best_route({.client = *machine_.drive("nvme1"), .provider = gpu1_}).by, "pcie");
  set_link(false);
  EXPECT_EQ(machine_.best_route({.client = gpu0_, .provider = gpu1_}).by, "");
  const auto refused = gpu0_.map(far_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("is down"));
}

TEST_P(LinkedCopy, DownInMidCopyGoesByHostMemoryAndSaysSo) {
  const auto report = copy_and_then([this] { set_link(false); });
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->link_bytes, 4_MiB);
  EXPECT_EQ(report->host_bytes, 4_MiB);
  EXPECT_TRUE(are_equal()) << "nothing is lost";
  ASSERT_THAT(report->fallbacks, SizeIs(1));
  EXPECT_EQ(report->fallbacks[0].code, "no_route");
  EXPECT_EQ(report->fallbacks[0].bytes, 4_MiB);
  // It is up again, and so is the way.
  set_link(true);
  std::ranges::fill(far_.cpu_bytes(), std::byte{0});
  const auto again = barter::copy_memory(gpu0_, near_, far_);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->link_bytes, 8_MiB);
  EXPECT_TRUE(are_equal());
}

TEST_P(LinkedCopy, DownInMidCopyIsAnErrorWhereOnlyDirectWillDo) {
  const auto report = copy_and_then([this] { set_link(false); }, P2p::required);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, barter::ErrorCode::no_route);
  EXPECT_THAT(report.error().message(), HasSubstr("4194304 of 8388608 bytes had arrived"));
}

TEST_P(LinkedCopyBelowASwitch, TheLinkBeatsPcieAndPcieIsLeftWhenItGoesDown) {
  const auto both = barter::copy_memory(gpu0_, near_, far_);
  ASSERT_TRUE(both) << both.error().message();
  EXPECT_EQ(both->link_bytes, 8_MiB);
  std::ranges::fill(far_.cpu_bytes(), std::byte{0});
  const auto report = copy_and_then([this] { set_link(false); }, P2p::required);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->link_bytes, 4_MiB);
  EXPECT_EQ(report->bus_bytes, 4_MiB);
  EXPECT_TRUE(are_equal());
  EXPECT_EQ(backend().traffic()->peer_bytes, 4_MiB);
  EXPECT_EQ(backend().traffic()->data_bytes, 0u);
  set_link(true);
  EXPECT_EQ(gpu0_.map(far_)->route(), Route::link);
}

// A command that is under way when the link goes down ends with an error of its own, and its chunk is done again.
TEST_P(LinkedCopyBelowASwitch, ALinkThatFlapsLosesNothing) {
  if (!GetParam()) GTEST_SKIP() << "skipped: on a machine that is stepped, nothing happens in the middle of a command";
  std::atomic<bool> is_over = false;
  std::thread flapping([&] {
    for (bool up = false; !is_over; up = !up) {
      set_link(up);
      std::this_thread::yield();
    }
    set_link(true);
  });
  std::uint64_t by_link = 0, in_all = 0;
  for (int round = 0; round < 8; ++round) {
    std::ranges::fill(far_.cpu_bytes(), std::byte{0});
    const auto report = barter::copy_memory(gpu0_, near_, far_, {.chunk_bytes = 256_KiB});
    ASSERT_TRUE(report) << report.error().message();
    ASSERT_TRUE(are_equal());
    by_link += report->link_bytes;
    in_all += report->link_bytes + report->bus_bytes + report->host_bytes;
  }
  is_over = true;
  flapping.join();
  EXPECT_EQ(in_all, 8 * 8_MiB);
  EXPECT_GE(gpu0_.unit().accelerator->links().traffic(0).written_bytes, by_link);
}

TEST_P(LinkedCopy, TheOwnerDecidesAboutLinksToo) {
  std::vector<Route> asked;
  gpu1_.memory()->on_request([&](const barter::Request& request) {
    asked.push_back(request.route);
    return Answer::refuse("not by others' engines");
  });
  const auto report = barter::copy_memory(gpu0_, near_, far_, {.chunk_bytes = 8_MiB});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_THAT(asked, ElementsAre(Route::link));
  EXPECT_EQ(report->host_bytes, 8_MiB) << "its own engine has brought the bytes";
  ASSERT_THAT(report->fallbacks, SizeIs(1));
  EXPECT_EQ(report->fallbacks[0].code, "owner_refused");
  EXPECT_TRUE(are_equal());
  EXPECT_EQ(barter::copy_memory(gpu0_, near_, far_, {.policy = P2p::required}).error().code,
            barter::ErrorCode::refused);
  gpu1_.memory()->on_request({});
  EXPECT_EQ(barter::copy_memory(gpu0_, near_, far_, {.policy = P2p::disabled})->host_bytes, 8_MiB);
}

TEST_P(LinkedCopy, WhatIsTakenBackForNowIsMappedAgainAndForGoodEndsTheCopy) {
  const auto report = copy_and_then([this] { EXPECT_TRUE(far_.invalidate()); });
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->link_bytes, 8_MiB);
  EXPECT_THAT(report->rerouted, SizeIs(1));
  EXPECT_TRUE(are_equal());
  const auto ended = copy_and_then([this] { EXPECT_TRUE(far_.revoke()); });
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, barter::ErrorCode::revoked);
  EXPECT_EQ(gpu1_.unit().accelerator->links().granted(0), 0u);
}

TEST_P(LinkedCopy, WhoeverIsPulledOutTakesNobodyWithIt) {
  const auto report = copy_and_then([this] { EXPECT_TRUE(machine_.state()->unplug(gpu1_.unit())); });
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message(), HasSubstr("4194304 of 8388608 bytes had arrived"));
  EXPECT_TRUE(far_.is_revoked());
  EXPECT_FALSE(gpu0_.map(far_));
  const barter::Region other = allocate(gpu0_);
  const auto within = barter::copy_memory(gpu0_, near_, other);
  ASSERT_TRUE(within) << within.error().message();
  EXPECT_EQ(within->own_bytes, 8_MiB);
  EXPECT_TRUE(std::ranges::equal(near_.cpu_bytes(), other.cpu_bytes()));
}

TEST_P(LinkedCopy, WhatCantBeIsRefused) {
  const auto code = [&](const barter::Region& from, const barter::Region& to, barter::MemoryCopyOptions options = {}) {
    const auto report = barter::copy_memory(gpu0_, from, to, options);
    return report ? barter::ErrorCode::cancelled : report.error().code;
  };
  const barter::Region small = std::move(*gpu0_.memory()->allocate(4_KiB));
  const barter::Region far_too = allocate(gpu1_);
  EXPECT_EQ(code(near_, small), barter::ErrorCode::invalid_argument);
  EXPECT_EQ(code(near_, near_), barter::ErrorCode::invalid_argument);
  EXPECT_EQ(code(far_, far_too), barter::ErrorCode::invalid_argument) << "neither is its own";
  EXPECT_EQ(code(near_, far_, {.chunk_bytes = 0}), barter::ErrorCode::invalid_argument);
  EXPECT_EQ(code(near_, far_, {.chunk_bytes = 1_GiB}), barter::ErrorCode::invalid_argument);
  EXPECT_EQ(machine_.accelerator("nvme0").error().code, barter::ErrorCode::not_found);
}

// One grant for each mapping: when all are taken, PCIe is left, and says so where it is none.
TEST_P(LinkedCopyBelowASwitch, WhenAllGrantsAreTakenPcieIsLeft) {
  std::vector<barter::Mapping> mappings;
  for (int count = 0; count < 128; ++count) {
    auto mapping = gpu0_.map(far_, {.bytes = 4_KiB});
    ASSERT_TRUE(mapping);
    ASSERT_EQ(mapping->route(), Route::link) << count;
    mappings.push_back(std::move(*mapping));
  }
  auto more = gpu0_.map(far_, {.bytes = 4_KiB});
  ASSERT_TRUE(more);
  EXPECT_EQ(more->route(), Route::bus_address);
  mappings.pop_back();
  EXPECT_EQ(gpu0_.map(far_, {.bytes = 4_KiB})->route(), Route::link);
}

std::string name_of_machine(const testing::TestParamInfo<bool>& of) { return of.param ? "threaded" : "stepped"; }
INSTANTIATE_TEST_SUITE_P(Machines, LinkedCopy, testing::Bool(), name_of_machine);
INSTANTIATE_TEST_SUITE_P(Machines, LinkedCopyBelowASwitch, testing::Bool(), name_of_machine);

}  // namespace
