#include "topology/acs_rules.h"

#include <array>
#include <string_view>
#include <vector>

#include <linux/pci_regs.h>

#include <gtest/gtest.h>

namespace barter::topology {
namespace {

// The bits against the kernel's own header, which is not ours.
static_assert(acs_bit::kSourceValidation == PCI_ACS_SV);
static_assert(acs_bit::kTranslationBlocking == PCI_ACS_TB);
static_assert(acs_bit::kRequestRedirect == PCI_ACS_RR);
static_assert(acs_bit::kCompletionRedirect == PCI_ACS_CR);
static_assert(acs_bit::kUpstreamForwarding == PCI_ACS_UF);
static_assert(acs_bit::kEgressControl == PCI_ACS_EC);
static_assert(acs_bit::kDirectTranslated == PCI_ACS_DT);

constexpr unsigned kRr = PCI_ACS_RR;
constexpr unsigned kCr = PCI_ACS_CR;
constexpr unsigned kEc = PCI_ACS_EC;
constexpr unsigned kDt = PCI_ACS_DT;
constexpr unsigned kTb = PCI_ACS_TB;
constexpr auto kD = PortDecision::direct;
constexpr auto kR = PortDecision::redirect;
constexpr auto kB = PortDecision::blocked;
constexpr auto kPlain = AddressType::untranslated;
constexpr auto kAt = AddressType::translated;
constexpr std::array<std::uint32_t, 8> kAllSet = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
constexpr std::array<std::uint32_t, 8> kAllClear = {};

AcsControls with(unsigned control, std::span<const std::uint32_t> vector = {}) {
  return {.control = static_cast<std::uint16_t>(control), .egress_control_vector = vector};
}

struct RequestRow {
  unsigned control;
  AddressType type;
  PortDecision set;    // with the target's bit of the egress vector set
  PortDecision clear;  // with it clear
};

// The truth table of the Linux p2pdma rework's unit tests, which knows no vector and takes Egress Control for
// redirection, refined by PCIe 6.0 table 6-10 where the vector is known.
constexpr RequestRow kRequests[] = {
    {0, kPlain, kD, kD},
    {kRr, kPlain, kR, kR},
    {kCr, kPlain, kD, kD},
    {kRr | kCr, kPlain, kR, kR},
    {kEc, kPlain, kB, kD},
    {kEc | kRr, kPlain, kR, kD},
    {kEc | kCr, kPlain, kB, kD},
    {kDt, kPlain, kD, kD},
    {kDt | kRr, kPlain, kR, kR},
    {0, kAt, kD, kD},
    {kRr, kAt, kR, kR},
    {kDt | kRr, kAt, kD, kD},
    {kDt | kEc, kAt, kD, kD},
    {kDt | kEc | kRr, kAt, kD, kD},
    {kEc, kAt, kB, kD},
    {kTb, kPlain, kD, kD},
    {kTb | kRr, kPlain, kR, kR},
    {kTb, kAt, kB, kB},
    {kTb | kDt, kAt, kB, kB},
    {kTb, AddressType::translation_request, kB, kB},
    {kDt | kRr, AddressType::translation_request, kR, kR},  // DT frees translated requests only
};

TEST(AcsRules, RequestsFollowTheTruthTable) {
  for (const RequestRow& row : kRequests) {
    const PeerRequest request{.address_type = row.type, .target_number = 5};
    EXPECT_EQ(decide_request(with(row.control, kAllSet), request), row.set) << std::hex << row.control;
    EXPECT_EQ(decide_request(with(row.control, kAllClear), request), row.clear) << std::hex << row.control;
  }
}

TEST(AcsRules, CompletionsFollowTheTruthTable) {
  struct Row {
    unsigned control;
    bool relaxed;
    PortDecision expected;
  };
  constexpr Row kRows[] = {{0, false, kD},   {kRr, false, kD},       {kCr, false, kR}, {kRr | kCr, false, kR},
                           {kEc, false, kD}, {kEc | kCr, false, kR}, {kCr, true, kD},  {kRr | kCr | kEc, true, kD}};
  for (const Row& row : kRows)
    EXPECT_EQ(decide_completion(with(row.control, kAllSet), row.relaxed), row.expected) << std::hex << row.control;
}

TEST(AcsRules, TheVectorIsIndexedByPortNumber) {
  std::array<std::uint32_t, 8> vector = {};
  vector[0] = 1u << 5;
  vector[2] = 1u << 1;  // port 65
  const AcsControls acs = with(kEc | kRr, vector);
  EXPECT_EQ(decide_request(acs, {.target_number = 5}), kR);
  EXPECT_EQ(decide_request(acs, {.target_number = 6}), kD);
  EXPECT_EQ(decide_request(acs, {.target_number = 65}), kR);
  EXPECT_EQ(decide_request(acs, {.target_number = 255}), kD);
}

TEST(AcsRules, ANumberPastTheVectorCountsAsSet) {
  const std::optional<AcsInfo> acs = AcsInfo{
      .capability = 0x0400 | kEc, .control = kEc, .offset = 0, .egress_control_vector = std::vector<std::uint32_t>{0}};
  EXPECT_EQ(acs_controls(acs).egress_ports, 4);
  EXPECT_EQ(decide_request(acs_controls(acs), {.target_number = 3}), kD);
  EXPECT_EQ(decide_request(acs_controls(acs), {.target_number = 4}), kB);
}

TEST(AcsRules, ASizeOfZeroMeans256Ports) {
  const std::optional<AcsInfo> acs = AcsInfo{
      .capability = kEc, .control = kEc, .offset = 0, .egress_control_vector = std::vector<std::uint32_t>(8, 0)};
  EXPECT_EQ(acs_controls(acs).egress_ports, 256);
  EXPECT_EQ(decide_request(acs_controls(acs), {.target_number = 255}), kD);
}

TEST(AcsRules, WithoutAcsAllGoesDirect) {
  const AcsControls none = acs_controls(std::nullopt);
  EXPECT_EQ(decide_request(none, {.address_type = kAt}), kD);
  EXPECT_EQ(decide_completion(none, false), kD);
  EXPECT_TRUE(passes_source_validation(none, 99, {.secondary = 1, .subordinate = 2}));
  EXPECT_FALSE(forwards_its_own_egress(none));
}

TEST(AcsRules, SourceValidationHoldsTheRequesterToThePortsBuses) {
  const AcsControls acs = with(PCI_ACS_SV);
  EXPECT_TRUE(passes_source_validation(acs, 3, {.secondary = 3, .subordinate = 5}));
  EXPECT_TRUE(passes_source_validation(acs, 5, {.secondary = 3, .subordinate = 5}));
  EXPECT_FALSE(passes_source_validation(acs, 2, {.secondary = 3, .subordinate = 5}));
  EXPECT_FALSE(passes_source_validation(acs, 6, {.secondary = 3, .subordinate = 5}));
}

TEST(AcsRules, UpstreamForwardingIsItsOwnBit) {
  EXPECT_TRUE(forwards_its_own_egress(with(PCI_ACS_UF)));
  EXPECT_FALSE(forwards_its_own_egress(with(0x7f & ~PCI_ACS_UF)));
}

}  // namespace
}  // namespace barter::topology
