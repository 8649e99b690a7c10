// Another way than PCIe: it is taken while it works, closed when the mapping ends, and never given to whoever can't follow it.
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "peer/driven_importer.h"
#include "peer/exchange.h"
#include "peer/fallback.h"
#include "peer/mapping.h"
#include "peer/owned_exporter.h"
#include "peer/test_devices.h"

namespace barter::peer {
namespace {

using namespace barter::literals;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr Bdf kOwner{.bus = 1}, kLinked{.bus = 2}, kOther{.bus = 3};
constexpr std::uint64_t kLinkAddresses = std::uint64_t{1} << 48;

class FakeLink final : public Interconnect {
 public:
  [[nodiscard]] std::string_view name() const override { return called; }
  [[nodiscard]] Answer ask(Bdf client, Bdf provider) override {
    const bool joined = client == kLinked && provider == kOwner;
    if (!joined) return {};
    return {.is_joined = true, .is_up = up, .distance = distance, .why = up ? "link 0 joins them" : "link 0 is down"};
  }
  [[nodiscard]] std::vector<Fact> facts(Bdf client, Bdf provider) override {
    if (client != kLinked || provider != kOwner) return {};
    return {{"0000:02:00.0", "LINK_STATUS.UP", up ? "1" : "0", "says"}};
  }
  [[nodiscard]] Result<LinkAddress> open(const Way& way) override {
    if (const auto call = std::exchange(on_open, {})) call();
    const std::scoped_lock lock(mutex_);
    if (places == ways.size() || breaks_down)
      return fail({.code = breaks_down ? ErrorCode::no_route : ErrorCode::exhausted, .why = "no place is left"});
    const LinkAddress address{kLinkAddresses + way.range.offset};
    ways.emplace(address, way);
    return address;
  }
  [[nodiscard]] Result<void> close(const Way& way, LinkAddress address) override {
    if (stuck) return fail({.code = ErrorCode::device_failed, .why = "the guard does not answer"});
    const std::scoped_lock lock(mutex_);
    const auto found = ways.find(address);
    EXPECT_TRUE(found != ways.end() && found->second.range == way.range && found->second.access == way.access);
    if (found != ways.end()) ways.erase(found);
    return {};
  }

  bool up = true, breaks_down = false, stuck = false;
  std::size_t places = 16;
  std::uint32_t distance = 1;
  std::string_view called = "link";
  std::function<void()> on_open;
  std::multimap<LinkAddress, Way> ways;

 private:
  std::mutex mutex_;  // while several threads use it
};

class Owned final : public OwnedExporter {
 public:
  [[nodiscard]] Bdf function() const override { return kOwner; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return 1_MiB; }
  [[nodiscard]] BusAddress bus_address() const override { return {1_TiB}; }
  [[nodiscard]] Access hardware_access() const override { return Access::read_write; }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange) override { return {}; }

 protected:
  [[nodiscard]] std::optional<Answer> ruled_out(const Request&) const override { return std::nullopt; }
};

class LinkedClient final : public DrivenImporter {
 public:
  explicit LinkedClient(bool takes) : takes_(takes) {}
  [[nodiscard]] Bdf function() const override { return kLinked; }
  [[nodiscard]] DmaDomain& domain() override { return none_; }
  [[nodiscard]] bool takes_link_addresses() const override { return takes_; }
  [[nodiscard]] Result<void> isolate() override {
    ++isolated;
    return {};
  }
  int isolated = 0;

 private:
  bool takes_;
  NoIommu none_;
};

// A device whose page tables lie before everything that its engines reach.
class PlacingClient final : public DrivenImporter {
 public:
  [[nodiscard]] Bdf function() const override { return kLinked; }
  [[nodiscard]] DmaDomain& domain() override { return tables; }
  [[nodiscard]] bool takes_link_addresses() const override { return true; }
  [[nodiscard]] Result<void> isolate() override { return {}; }

  class Tables final : public DmaDomain {
   public:
    [[nodiscard]] bool translates() const override { return true; }
    [[nodiscard]] bool device_translates() const override { return true; }
    [[nodiscard]] Result<DmaAddress> map(BusAddress, std::uint64_t, Access) override {
      return fail({.code = ErrorCode::unsupported, .why = "no address was chosen"});
    }
    [[nodiscard]] Result<DmaAddress> map_at(const Placed& placed) override {
      const std::scoped_lock lock(mutex_);
      if (shown.contains(placed.at)) return fail({.code = ErrorCode::invalid_argument, .why = "something is there"});
      shown.emplace(placed.at, placed);
      return placed.at;
    }
    void unmap(DmaAddress at, std::uint64_t) override {
      const std::scoped_lock lock(mutex_);
      EXPECT_EQ(shown.erase(at), 1u);
    }
    std::map<DmaAddress, Placed> shown;

   private:
    std::mutex mutex_;  // while several threads use it
  } tables;
};

class InterconnectTest : public testing::Test {
 protected:
  InterconnectTest() {
    EXPECT_TRUE(exchange_.add(memory_) && exchange_.add(client_) && exchange_.add(simple_) && exchange_.add(link_));
    memory_.on_request([this](const Request& request) {
      const std::scoped_lock lock(mutex_);
      asked_.push_back(request.route);
      return Answer::direct();
    });
    memory_.on_unmap([this](const Request& request) {
      const std::scoped_lock lock(mutex_);
      told_.push_back(request.route);
    });
    region_.emplace(std::move(*exchange_.allocate(memory_, 64_KiB)));
  }

  test::WaitingClock clock_;
  Owned memory_;
  LinkedClient client_{true};
  test::Client simple_{kOther};
  FakeLink link_;
  Route pcie_ = Route::through_host_bridge;
  std::mutex mutex_;  // guards the next, while several threads map and take back
  std::vector<Route> asked_, told_;
  Exchange exchange_{clock_, [this](Bdf, Bdf) {
                       return RouteAnswer{.read = pcie_, .write = pcie_, .distance = 4, .why = "as the test says"};
                     }};
  std::optional<Region> region_;
};

TEST_F(InterconnectTest, WhatIsPlacedInTheDevicesOwnPageTablesGoesByTheLinkToo) {
  PlacingClient placing;
  ASSERT_TRUE(exchange_.add(placing));
  const MapOptions options{.access = Access::read_write, .offset = 8192, .bytes = 100};
  const DmaAddress at{7_GiB};
  {
    const auto mapping = exchange_.try_map_at(at, placing, *region_->state(), options);
    ASSERT_TRUE(mapping) << mapping.error().error.message();
    EXPECT_EQ(mapping->route(), Route::link);
    const auto lease = mapping->lease();
    EXPECT_EQ(lease->segments()[0], (DmaSegment{at, 100, SegmentKind::iova})) << "what its requests carry is its own";
    ASSERT_EQ(placing.tables.shown.size(), 1u);
    EXPECT_EQ(placing.tables.shown.at(at).link->value, kLinkAddresses + region_->range().offset + 8192);
    EXPECT_EQ(link_.ways.size(), 1u);
    // At the same place again: the tables refuse, and the way that was opened for it is closed.
    const auto second = exchange_.try_map_at(at, placing, *region_->state(), options);
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().error.message(), HasSubstr("something is there"));
    EXPECT_EQ(link_.ways.size(), 1u);
  }
  EXPECT_TRUE(placing.tables.shown.empty());
  EXPECT_TRUE(link_.ways.empty());
  // What the owner takes back is gone from both. The last handle is dropped after that.
  const auto taken = exchange_.try_map_at(at, placing, *region_->state(), options);
  ASSERT_TRUE(taken);
  ASSERT_TRUE(region_->invalidate());
  EXPECT_TRUE(placing.tables.shown.empty());
  EXPECT_TRUE(link_.ways.empty());
  // Down, PCIe's way is left.
  link_.up = false;
  const auto by_pcie = exchange_.try_map_at(at, placing, *region_->state(), options);
  ASSERT_TRUE(by_pcie) << by_pcie.error().error.message();
  EXPECT_EQ(by_pcie->route(), Route::through_host_bridge);
  EXPECT_FALSE(placing.tables.shown.at(at).link);
  // An owner that takes it back while the way is made leaves nothing open.
  link_.up = true;
  const auto witness = exchange_.map(simple_, *region_);
  ASSERT_TRUE(witness);
  std::thread owner;
  link_.on_open = [&] {
    owner = std::thread([this] { EXPECT_TRUE(region_->invalidate()); });
    while (!witness->is_revoked()) std::this_thread::yield();
  };
  EXPECT_FALSE(exchange_.try_map_at({8_GiB}, placing, *region_->state(), options));
  owner.join();
  EXPECT_TRUE(link_.ways.empty());
  EXPECT_FALSE(placing.tables.shown.contains({8_GiB}));
  EXPECT_TRUE(exchange_.remove(placing));
}

TEST_F(InterconnectTest, AWorkingLinkBeatsPcieAndSaysWhy) {
  const RouteAnswer answer = exchange_.route(kLinked, kOwner);
  EXPECT_EQ(answer.read, Route::link);
  EXPECT_EQ(answer.write, Route::link);
  EXPECT_EQ(answer.why, "link 0 joins them");
  EXPECT_EQ(exchange_.route_by_pcie(kLinked, kOwner).read, Route::through_host_bridge);
  EXPECT_EQ(exchange_.route(kOther, kOwner).read, Route::through_host_bridge);
  const RouteChoice choice = exchange_.choose_route(kLinked, kOwner, Access::read_write);
  EXPECT_EQ(choice.by, "link");
  EXPECT_EQ(choice.why, "link 0 joins them; PCIe's own route would be through_host_bridge");

  auto mapping = exchange_.map(client_, *region_, {.access = Access::read, .offset = 5000, .bytes = 100});
  ASSERT_TRUE(mapping) << mapping.error().message();
  EXPECT_EQ(mapping->route(), Route::link);
  EXPECT_THAT(asked_, ElementsAre(Route::link));
  {
    const auto lease = mapping->lease();
    ASSERT_TRUE(lease);
    const DmaSegment segment = lease->segments()[0];
    EXPECT_EQ(segment.kind, SegmentKind::link);
    EXPECT_EQ(segment.address.value, kLinkAddresses + region_->range().offset + 5000);
    ASSERT_EQ(link_.ways.size(), 1u);
    EXPECT_EQ(link_.ways.begin()->second.range, (MemoryRange{region_->range().offset + 5000, 100}))
        << "exactly what was asked for";
    EXPECT_EQ(link_.ways.begin()->second.access, Access::read);
  }
  mapping = exchange_.map(client_, *region_);  // the old one ends
  EXPECT_EQ(link_.ways.size(), 1u);
  EXPECT_THAT(told_, ElementsAre(Route::link));
}

TEST_F(InterconnectTest, OfTwoThatWorkTheOneWithFewerHopsWins) {
  FakeLink ring;
  ring.distance = 3;
  ring.called = "ring";
  Exchange exchange(clock_, [](Bdf, Bdf) { return RouteAnswer{}; });
  ASSERT_TRUE(exchange.add(ring) && exchange.add(link_));
  EXPECT_EQ(exchange.choose_route(kLinked, kOwner, Access::write).by, "link");
  link_.up = false;
  EXPECT_EQ(exchange.choose_route(kLinked, kOwner, Access::write).by, "ring");
}

TEST_F(InterconnectTest, WhatGoesDownLeavesPcieAndComesBackUnasked) {
  link_.up = false;
  EXPECT_EQ(exchange_.route(kLinked, kOwner).read, Route::through_host_bridge);
  auto mapping = exchange_.map(client_, *region_);
  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->route(), Route::through_host_bridge);
  const RouteChoice choice = exchange_.choose_route(kLinked, kOwner, Access::read_write);
  EXPECT_EQ(choice.by, "pcie");
  EXPECT_EQ(choice.why, "link 0 is down; as the test says");
  link_.up = true;
  EXPECT_EQ(exchange_.map(client_, *region_)->route(), Route::link);
  // Without a way on PCIe either, the error tells both.
  link_.up = false;
  pcie_ = Route::not_supported;
  exchange_.routes_changed();
  const auto refused = exchange_.try_map(client_, *region_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::no_route);
  EXPECT_EQ(refused.error().error.why, "as the test says; link 0 is down");
  EXPECT_EQ(exchange_.choose_route(kLinked, kOwner, Access::read).by, "");
}

TEST_F(InterconnectTest, WhatCantBeOpenedLeavesPcieAndTheOwnerIsAskedAboutThatRoute) {
  link_.places = 0;
  auto mapping = exchange_.map(client_, *region_);
  ASSERT_TRUE(mapping) << mapping.error().message();
  EXPECT_EQ(mapping->route(), Route::through_host_bridge);
  EXPECT_THAT(asked_, ElementsAre(Route::link, Route::through_host_bridge));
  EXPECT_THAT(told_, ElementsAre(Route::link)) << "what it granted did not come to be";
  auto parts = exchange_.map_parts(client_, *region_, {.bytes = 4096});
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->at(0).mapping->route(), Route::through_host_bridge);
  pcie_ = Route::not_supported;
  exchange_.routes_changed();
  link_.breaks_down = true;
  const auto refused = exchange_.try_map(client_, *region_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().error.why, HasSubstr("no place is left"));
}

TEST_F(InterconnectTest, WhoeverCantFollowLinkAddressesGetsNone) {
  LinkedClient cannot(false);
  EXPECT_TRUE(exchange_.remove(client_));
  ASSERT_TRUE(exchange_.add(cannot));
  auto mapping = exchange_.map(cannot, *region_);
  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->lease()->segments()[0].kind, SegmentKind::iova);
  EXPECT_TRUE(link_.ways.empty());
  mapping = exchange_.map(simple_, *region_);
  EXPECT_EQ(mapping->route(), Route::through_host_bridge) << "no link joins these two";
  EXPECT_TRUE(exchange_.remove(cannot));
}

TEST_F(InterconnectTest, ALateImporterIsCutOffAtTheGuardAndKeepsTheRest) {
  auto mapping = exchange_.map(client_, *region_);
  auto lease = mapping->lease();
  ASSERT_TRUE(lease);
  const auto report = region_->revoke({.deadline = 1ms});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_THAT(report->late, ElementsAre(kLinked));
  EXPECT_TRUE(link_.ways.empty());
  EXPECT_EQ(client_.isolated, 0) << "its other ways are its own";
  EXPECT_THAT(told_, ElementsAre(Route::link));
  // What it has in flight goes by an address that may be given out again: first that ends.
  const auto other = exchange_.allocate(memory_, 4_KiB);
  EXPECT_EQ(exchange_.try_map(client_, *other).error().reason, Refusal::late_importer);
  *lease = {};
  EXPECT_TRUE(exchange_.map(client_, *other));
}

TEST_F(InterconnectTest, AGuardThatDoesNotCloseCostsTheMemory) {
  auto mapping = exchange_.map(client_, *region_);
  link_.stuck = true;
  const auto report = region_->revoke();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::device_failed);
  EXPECT_THAT(report.error().message(), HasSubstr("could not be closed"));
  region_.reset();
  EXPECT_EQ(exchange_.counters().quarantined_bytes, 64_KiB);
}

TEST_F(InterconnectTest, ARevocationWaitsForWhoIsOpening) {
  std::atomic<bool> done = false;
  std::thread revoking;
  link_.on_open = [&] {
    revoking = std::thread([&] {
      EXPECT_TRUE(region_->revoke());
      done = true;
    });
    while (!region_->is_revoked()) std::this_thread::yield();
    EXPECT_FALSE(done) << "what is being opened would stay open";
  };
  const auto refused = exchange_.try_map(client_, *region_);
  ASSERT_TRUE(revoking.joinable());
  revoking.join();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Refusal::revoked);
  EXPECT_TRUE(link_.ways.empty());
  EXPECT_EQ(exchange_.counters().mapped, 0u);
}

TEST_F(InterconnectTest, EachSaysWhatItKnows) {
  const auto answers = exchange_.interconnects(kLinked, kOwner);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].name, "link");
  EXPECT_EQ(answers[0].route, Route::link);
  ASSERT_EQ(answers[0].facts.size(), 1u);
  EXPECT_EQ(exchange_.interconnects(kOther, kOwner)[0].route, Route::not_supported);
  EXPECT_TRUE(exchange_.interconnects(kOther, kOwner)[0].facts.empty());
  EXPECT_EQ(exchange_.interconnects(kOwner, kOwner)[0].route, Route::not_supported);
  for (std::size_t more = 1; more < kMaxInterconnects; ++more) EXPECT_TRUE(exchange_.add(link_));
  EXPECT_EQ(exchange_.add(link_).error().code, ErrorCode::exhausted);
}

TEST(InterconnectPolicy, EveryPolicyButDisabledTakesALink) {
  const RouteAnswer answer{.read = Route::link, .write = Route::link};
  for (const P2p policy : {P2p::required, P2p::preferred, P2p::enabled})
    EXPECT_EQ(decide(policy, answer, Access::read_write)->way, Way::direct);
  EXPECT_EQ(decide(P2p::disabled, answer, Access::read_write)->way, Way::host);
}

}  // namespace
}  // namespace barter::peer
