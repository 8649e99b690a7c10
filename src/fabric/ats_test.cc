// Address Translation Services: what a function with it asks, what its requests then meet, and how translations are taken
// back. The machine is one switch with a and b below it, and c below a root port of its own; a has ATS.
#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "fabric/iommu.h"
#include "fabric/test_machines.h"
#include "fabric/translation_cache.h"
#include "pci/capabilities/acs.h"
#include "pci/capabilities/ats.h"

namespace barter::fabric {
namespace {

using namespace std::chrono_literals;

constexpr std::uint16_t kRedirecting =
    pci::acs::kRequestRedirect | pci::acs::kCompletionRedirect | pci::acs::kUpstreamForwarding;
constexpr std::uint16_t kAcsControlAt = 0x106;
constexpr std::uint16_t kAtsControlAt = 0x106;  // of a function without ACS
constexpr std::uint64_t kPage = 4096;

std::vector<std::byte> bytes_of(std::uint8_t value, std::size_t bytes = 64) {
  return std::vector<std::byte>(bytes, std::byte{value});
}

topology::Description ats_machine(std::uint16_t acs_control, IommuMode iommu = IommuMode::translate) {
  auto description = one_switch();
  description.iommu = iommu;
  description.root_complexes[0].turns_reads = true;
  description.root_complexes[0].turns_writes = true;
  description.root_ports[0].port.acs = {.capability = 0x5f, .control = 0};
  for (auto& port : description.switches[0].downstream) port.acs = {.capability = 0x5f, .control = acs_control};
  description.functions[0].ats = true;
  return description;
}

class Ats : public ::testing::Test {
 protected:
  void start(std::uint16_t acs_control, IommuMode iommu = IommuMode::translate) {
    machine_ = std::make_unique<TestMachine>(ats_machine(acs_control, iommu));
    domain_ = &machine_->fabric->domain(machine_->bdf("a"));
  }
  DmaAddress map(std::size_t provider, Access access = Access::read_write, std::uint64_t bytes = 65536) {
    const auto address = domain_->map(TestMachine::bar(*machine_->devices[provider], 2), bytes, access);
    EXPECT_TRUE(address.has_value());
    return address.value_or(DmaAddress{});
  }
  Completion write(DmaAddress to, std::uint8_t value = 0x5a) { return bus().write(to, bytes_of(value)); }
  Completion read(DmaAddress from) {
    std::vector<std::byte> into(64);
    return bus().read(from, into);
  }
  Requester& bus() { return machine_->devices[0]->bus(); }
  [[nodiscard]] std::byte first_byte(std::size_t of) const { return machine_->devices[of]->memory()[0]; }
  [[nodiscard]] Counters counters() const { return machine_->fabric->counters(); }
  [[nodiscard]] std::uint64_t bytes_above_switch() const {
    for (const LinkCounters& link : counters().links)
      if (link.port == "rp0") return link.upstream_bytes + link.downstream_bytes;
    ADD_FAILURE() << "no rp0";
    return 0;
  }
  void set_acs(std::uint16_t control) {
    for (const char* port : {"sw0.0", "sw0.1"})
      ASSERT_TRUE(machine_->function(port)->write_config(kAcsControlAt, 2, control));
  }

  std::unique_ptr<TestMachine> machine_;
  peer::DmaDomain* domain_ = nullptr;
};

TEST_F(Ats, IsEnabledWhereTheIommuTranslatesAndTheFunctionHasIt) {
  for (const IommuMode mode : {IommuMode::off, IommuMode::passthrough, IommuMode::translate}) {
    start(0, mode);
    const bool expected = mode == IommuMode::translate;
    EXPECT_EQ(machine_->function("a")->read_config(kAtsControlAt, 2).value(), expected ? 0x8000u : 0u);
    EXPECT_EQ(domain_->device_translates(), expected);
    EXPECT_FALSE(machine_->fabric->domain(machine_->bdf("b")).device_translates());
    for (const FunctionInfo& info : machine_->fabric->topology().functions)
      EXPECT_EQ(*info.ats_enabled, expected && info.name == "a") << info.name;
  }
}

TEST_F(Ats, OneTranslationServesAsLongAsItIsTrue) {
  start(0);
  const auto buffer = machine_->function("a")->allocate_dma(65536, pci::DmaUse::data).value();
  for (std::uint64_t at = 0; at < 65536; at += kPage) ASSERT_EQ(write(buffer.address() + at), Completion::successful);
  EXPECT_EQ(read(buffer.address()), Completion::successful);
  EXPECT_EQ(buffer.bytes()[60 * 1024], std::byte{0x5a});
  EXPECT_EQ(counters().translation_requests, 1u) << "64 KiB, aligned, are one answer";
  EXPECT_EQ(counters().host_data_written_bytes, 16 * 64u);
  EXPECT_EQ(bus().run(buffer.address() + 4, 65536, Access::write).memory.size(), 65532u);
}

TEST_F(Ats, DirectTranslatedStaysBelowTheSwitchThatRedirects) {
  start(kRedirecting | pci::acs::kDirectTranslated);
  set_acs((kRedirecting & ~pci::acs::kCompletionRedirect) | pci::acs::kDirectTranslated);
  const DmaAddress peer = map(1);
  ASSERT_EQ(write(peer), Completion::successful);
  ASSERT_EQ(read(peer), Completion::successful);
  EXPECT_EQ(first_byte(1), std::byte{0x5a});
  EXPECT_EQ(bytes_above_switch(), 0u);
  EXPECT_EQ(counters().redirected_requests, 0u);
  EXPECT_EQ(counters().translation_requests, 1u);

  set_acs(kRedirecting);  // without it, the same request goes up, and is not translated again there
  ASSERT_EQ(write(peer, 0x77), Completion::successful);
  EXPECT_EQ(first_byte(1), std::byte{0x77});
  EXPECT_EQ(bytes_above_switch(), 128u);
  EXPECT_EQ(counters().redirected_requests, 1u);
  EXPECT_EQ(counters().translation_requests, 1u);
  EXPECT_EQ(counters().iommu_faults, 0u);
}

TEST_F(Ats, TranslationBlockingStopsRequestsForTranslationsAndByThem) {
  start(0);
  const DmaAddress peer = map(1);
  set_acs(pci::acs::kTranslationBlocking);
  EXPECT_EQ(write(peer), Completion::unsupported_request);
  EXPECT_EQ(counters().blocked_requests, 1u);
  set_acs(0);
  EXPECT_EQ(write(peer), Completion::successful);
  set_acs(pci::acs::kTranslationBlocking | pci::acs::kDirectTranslated);  // it goes before the other
  const std::uint64_t asked = counters().translation_requests;
  EXPECT_EQ(write(peer, 0x77), Completion::unsupported_request);
  EXPECT_EQ(counters().translation_requests, asked) << "it had the translation already";
  EXPECT_EQ(counters().blocked_requests, 2u);
  EXPECT_EQ(counters().iommu_faults, 0u);
  EXPECT_EQ(first_byte(1), std::byte{0x5a});
  // A root port blocks as well, whatever comes up to it.
  set_acs(0);
  const DmaAddress far = map(2);
  EXPECT_EQ(write(far), Completion::successful);
  ASSERT_TRUE(machine_->function("rp0")->write_config(kAcsControlAt, 2, pci::acs::kTranslationBlocking));
  EXPECT_EQ(write(far), Completion::unsupported_request);
  EXPECT_EQ(write(peer), Completion::successful) << "this one doesn't come up to it";
}

TEST_F(Ats, OnlyTheRightsThatWereGranted) {
  start(pci::acs::kDirectTranslated);
  const DmaAddress readable = map(1, Access::read);
  EXPECT_EQ(read(readable), Completion::successful);
  EXPECT_EQ(write(readable), Completion::unsupported_request);
  EXPECT_EQ(first_byte(1), std::byte{0});
  const auto faults = machine_->fabric->iommu_faults();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_TRUE(faults[0].is_mapped);
  EXPECT_FALSE(faults[0].is_translated);
  EXPECT_EQ(faults[0].address, readable);
}

TEST_F(Ats, MessagesGoUntranslated) {
  start(0);
  const std::uint32_t data = 60000;
  for (int round = 0; round < 2; ++round)
    EXPECT_EQ(bus().write({kInterruptRangeStart}, std::as_bytes(std::span(&data, 1))), Completion::successful);
  EXPECT_EQ(counters().translation_requests, 1u) << "the answer says U, and is kept";
  EXPECT_EQ(read({kInterruptRangeStart}), Completion::unsupported_request);
  auto a = machine_->function("a");
  ASSERT_TRUE(a->enable_interrupts(1));
  bus().interrupt(0);
  EXPECT_TRUE(a->take_interrupt(0));
  EXPECT_EQ(counters().iommu_faults, 0u);
}

TEST_F(Ats, UnmapTakesTheTranslationBackFromTheDevice) {
  start(kRedirecting | pci::acs::kDirectTranslated);
  const DmaAddress peer = map(1);
  ASSERT_EQ(write(peer), Completion::successful);
  domain_->unmap(peer, 65536);
  EXPECT_EQ(counters().invalidate_requests, 1u);
  EXPECT_EQ(counters().ignored_invalidations, 0u);
  EXPECT_FALSE(domain_->is_defied());
  EXPECT_EQ(write(peer, 0x77), Completion::unsupported_request);
  EXPECT_EQ(first_byte(1), std::byte{0x5a});
  EXPECT_EQ(counters().iommu_faults, 1u);
  // The address means something else now; the old meaning is never used.
  const DmaAddress again = map(2);
  ASSERT_EQ(again, peer) << "this test wants the same address";
  EXPECT_EQ(write(again, 0x33), Completion::successful);
  EXPECT_EQ(first_byte(2), std::byte{0x33});
  EXPECT_EQ(first_byte(1), std::byte{0x5a});
}

TEST_F(Ats, ADeviceThatKeepsATranslationIsCutOffAtTheRootComplex) {
  start(kRedirecting);
  const DmaAddress peer = map(1);
  const auto buffer = machine_->function("a")->allocate_dma(kPage, pci::DmaUse::data).value();
  ASSERT_EQ(write(peer), Completion::successful);
  ASSERT_EQ(write(buffer.address()), Completion::successful);
  machine_->fabric->ignore_invalidations(machine_->bdf("a"), true);
  const auto before = machine_->fabric->clock().now();
  domain_->unmap(peer, 65536);
  EXPECT_EQ(machine_->fabric->clock().now() - before, 10ms);
  EXPECT_EQ(counters().ignored_invalidations, 1u);
  EXPECT_FALSE(domain_->is_defied()) << "all its requests pass the root complex";
  EXPECT_EQ(write(peer, 0x77), Completion::unsupported_request);
  EXPECT_EQ(first_byte(1), std::byte{0x5a});
  const auto faults = machine_->fabric->iommu_faults();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_TRUE(faults[0].is_translated);
  EXPECT_EQ(faults[0].address.value, TestMachine::bar(*machine_->devices[1], 2).value);
  // It can't go by what it knows of other memory either; a reset makes it forget, and the IOMMU trusts it again.
  EXPECT_EQ(write(buffer.address(), 0x77), Completion::unsupported_request);
  machine_->fabric->ignore_invalidations(machine_->bdf("a"), false);
  ASSERT_TRUE(machine_->function("a")->reset());
  const std::uint64_t asked = counters().translation_requests;
  EXPECT_EQ(write(buffer.address(), 0x77), Completion::successful);
  EXPECT_EQ(counters().translation_requests, asked + 1);
  EXPECT_EQ(write(peer, 0x77), Completion::unsupported_request);
}

TEST_F(Ats, ADeviceThatPassesTheIommuByDefiesItsDomain) {
  start(kRedirecting | pci::acs::kDirectTranslated);
  const DmaAddress peer = map(1);
  const DmaAddress other = map(1);
  ASSERT_EQ(write(peer), Completion::successful);
  ASSERT_EQ(write(other), Completion::successful);
  machine_->fabric->ignore_invalidations(machine_->bdf("a"), true);
  domain_->unmap(peer, 65536);
  EXPECT_TRUE(domain_->is_defied());
  EXPECT_EQ(write(peer, 0x66), Completion::successful) << "this is why its owner must be told";
  EXPECT_EQ(first_byte(1), std::byte{0x66});
  // It is not asked again, and not waited for.
  const auto before = machine_->fabric->clock().now();
  domain_->unmap(other, 65536);
  EXPECT_EQ(machine_->fabric->clock().now(), before);
  EXPECT_EQ(counters().invalidate_requests, 1u);
  machine_->fabric->set_bus_master(machine_->bdf("a"), false);
  EXPECT_EQ(write(peer, 0x77), Completion::unsupported_request);
  EXPECT_EQ(write(other, 0x77), Completion::unsupported_request);
  EXPECT_EQ(first_byte(1), std::byte{0x66});
  ASSERT_TRUE(machine_->function("a")->reset());
  EXPECT_FALSE(domain_->is_defied());
  machine_->fabric->set_bus_master(machine_->bdf("a"), true);
  EXPECT_EQ(write(peer, 0x77), Completion::unsupported_request);
  EXPECT_EQ(first_byte(1), std::byte{0x66});
}

TEST_F(Ats, WithoutTheContextEntryTranslatedRequestsFault) {
  start(kRedirecting);
  const DmaAddress peer = map(1);
  machine_->fabric->allow_ats(machine_->bdf("a"), false);
  // The answer is Unsupported Request; then the request goes untranslated, and the IOMMU translates it.
  EXPECT_EQ(write(peer), Completion::successful);
  EXPECT_EQ(counters().translation_requests, 1u);
  machine_->fabric->allow_ats(machine_->bdf("a"), true);
  EXPECT_EQ(write(peer), Completion::successful);
  machine_->fabric->allow_ats(machine_->bdf("a"), false);
  EXPECT_EQ(write(peer, 0x77), Completion::unsupported_request);
  EXPECT_TRUE(machine_->fabric->iommu_faults().back().is_translated);
  EXPECT_EQ(counters().iommu_faults, 1u);
  EXPECT_EQ(first_byte(1), std::byte{0x5a});
}

TEST_F(Ats, TurnedOffAndOnAgainStartsWithNothing) {
  start(kRedirecting | pci::acs::kDirectTranslated);
  const DmaAddress peer = map(1);
  ASSERT_EQ(write(peer), Completion::successful);
  auto a = machine_->function("a");
  ASSERT_TRUE(a->write_config(kAtsControlAt, 2, 0));
  EXPECT_FALSE(domain_->device_translates());
  ASSERT_EQ(write(peer), Completion::successful);
  EXPECT_EQ(bytes_above_switch(), 128u) << "untranslated, it meets the IOMMU";
  ASSERT_TRUE(a->write_config(kAtsControlAt, 2, 0x8000));
  ASSERT_EQ(write(peer), Completion::successful);
  EXPECT_EQ(bytes_above_switch(), 128u);
  EXPECT_EQ(counters().translation_requests, 2u);
}

TEST_F(Ats, ALinkThatComesBackLeavesNoTranslations) {
  start(kRedirecting | pci::acs::kDirectTranslated);
  const DmaAddress peer = map(1);
  ASSERT_EQ(write(peer), Completion::successful);
  machine_->fabric->ignore_invalidations(machine_->bdf("a"), true);
  machine_->fabric->set_link(machine_->bdf("a"), false);
  domain_->unmap(peer, 65536);  // nobody is there to be asked
  EXPECT_EQ(counters().invalidate_requests, 0u);
  machine_->fabric->set_link(machine_->bdf("a"), true);
  ASSERT_TRUE(machine_->function("a")->write_config(4, 2, 6));
  EXPECT_TRUE(domain_->device_translates());
  EXPECT_FALSE(domain_->is_defied());
  EXPECT_EQ(write(peer, 0x77), Completion::unsupported_request);
  EXPECT_EQ(first_byte(1), std::byte{0x5a});
}

TEST_F(Ats, MoreMappingsThanTheCacheHolds) {
  start(kRedirecting | pci::acs::kDirectTranslated);
  constexpr std::size_t kMappings = TranslationCache::kMaxTranslations + 100;
  std::vector<DmaAddress> pages;
  for (std::size_t number = 0; number < kMappings; ++number) pages.push_back(map(1, Access::read_write, kPage));
  for (int round = 0; round < 2; ++round)
    for (std::size_t number = 0; number < kMappings; ++number)
      ASSERT_EQ(write(pages[number], static_cast<std::uint8_t>(number)), Completion::successful);
  EXPECT_GE(counters().translation_requests, kMappings + 100);
  for (const DmaAddress page : pages) domain_->unmap(page, kPage);
  for (const DmaAddress page : pages) ASSERT_EQ(write(page), Completion::unsupported_request);
  EXPECT_EQ(counters().iommu_faults, kMappings);
  EXPECT_EQ(counters().invalidate_requests, kMappings);
}

TEST_F(Ats, ChanceMakesDevicesIgnoreInvalidations) {
  const auto run = [](std::uint64_t seed) {
    TestMachine machine(ats_machine(kRedirecting), {.seed = seed,
                                                    .faults = {.ignored_invalidation = 0.3},
                                                    .host_memory_bytes = 1 << 20,
                                                    .invalidation_deadline = 1ms});
    std::string history;
    peer::DmaDomain& domain = machine.fabric->domain(machine.bdf("a"));
    for (int round = 0; round < 30; ++round) {
      const auto at = domain.map(TestMachine::bar(*machine.devices[1], 2), kPage, Access::write);
      EXPECT_TRUE(at.has_value());
      EXPECT_EQ(machine.devices[0]->bus().write(*at, bytes_of(1)), Completion::successful);
      const std::uint64_t before = machine.fabric->counters().ignored_invalidations;
      domain.unmap(*at, kPage);
      EXPECT_EQ(machine.devices[0]->bus().write(*at, bytes_of(2)), Completion::unsupported_request);
      history += machine.fabric->counters().ignored_invalidations > before ? 'x' : '.';
      EXPECT_TRUE(machine.function("a")->reset());
    }
    EXPECT_EQ(machine.devices[1]->memory()[0], std::byte{1});
    return history;
  };
  EXPECT_EQ(run(3), run(3));
  EXPECT_NE(run(3).find('x'), std::string::npos);
  EXPECT_NE(run(3).find('.'), std::string::npos);
}

}  // namespace
}  // namespace barter::fabric
