#include "topology/from_config.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "pci/config_space.h"

namespace barter::topology {
namespace {

using pci::ConfigSpace;

// Registers are written as numbers here, from the specification's pages and not with the types under test.
class FromConfig : public ::testing::Test {
 protected:
  FromConfig() {
    config_.write(0x00, 4, 0x00101b36);
    config_.write(0x04, 4, 0x00100006);  // a capability list; memory and bus master on
    config_.write(0x08, 4, 0x01080202);  // NVMe
    config_.write(0x34, 1, 0x60);
    express(0x0002);
    config_.write(0x64, 4, 0x00008002);  // DevCap: 512 bytes at most
    config_.write(0x68, 2, 0x2830);      // DevCtl: 512 bytes to read, relaxed ordering, 256 bytes of payload
    config_.write(0x6c, 4, 0x07000105);  // LnkCap: port 7, x16 at 32 GT/s
    config_.write(0x72, 2, 0x0084);      // LnkSta: x8 at 16 GT/s
    config_.write(0x8c, 4, 0x0000003e);  // LnkCap2: 2.5 to 32 GT/s
  }
  void express(unsigned capabilities) { config_.write(0x60, 4, capabilities << 16 | 0x0010); }
  void extended(unsigned at, unsigned id, unsigned next) { config_.write(at, 4, next << 20 | 1u << 16 | id); }

  FunctionInfo read(const ConfigSpace& config) {
    auto function = function_from_config(kBdf, config, "the test");
    EXPECT_TRUE(function) << function.error().message();
    return function ? *function : FunctionInfo{};
  }
  FunctionInfo read() { return read(config_); }
  std::string refusal() {
    const auto function = function_from_config(kBdf, config_, "the test");
    return function ? "read" : function.error().message();
  }

  static constexpr Bdf kBdf{0, 3, 0, 1};
  ConfigSpace config_ = ConfigSpace::blank();
};

TEST_F(FromConfig, ReadsTheExpressCapability) {
  const auto function = read();
  EXPECT_EQ(function.bdf, kBdf);
  EXPECT_EQ(*function.port_type, PortType::endpoint);
  EXPECT_EQ(*function.max_payload_supported_bytes, 512u);
  EXPECT_EQ(*function.max_payload_bytes, 256u);
  EXPECT_EQ(*function.max_read_request_bytes, 512u);
  EXPECT_TRUE(*function.relaxed_ordering);
  EXPECT_EQ(function.port_number, 7);
  EXPECT_EQ(*function.link_max, (LinkState{32000, 16}));
  EXPECT_EQ(*function.link_now, (LinkState{16000, 8}));
  EXPECT_FALSE(*function.ats_enabled);
  ASSERT_TRUE(function.acs);
  EXPECT_FALSE(function.acs->has_value());
  EXPECT_FALSE(function.controller_memory);
  EXPECT_FALSE(function.is_bridge());
}

TEST_F(FromConfig, KnowsEveryPortType) {
  const std::pair<unsigned, PortType> types[] = {{0x0, PortType::endpoint},
                                                 {0x1, PortType::legacy_endpoint},
                                                 {0x4, PortType::root_port},
                                                 {0x5, PortType::upstream_port},
                                                 {0x6, PortType::downstream_port},
                                                 {0x7, PortType::pcie_to_pci_bridge},
                                                 {0x8, PortType::pci_to_pcie_bridge},
                                                 {0x9, PortType::root_complex_endpoint},
                                                 {0xa, PortType::root_complex_event_collector}};
  for (const auto& [code, type] : types) {
    express(code << 4 | 2);
    EXPECT_EQ(*read().port_type, type) << code;
  }
  express(0xf2);
  EXPECT_FALSE(read().port_type);
}

TEST_F(FromConfig, AnIntegratedEndpointHasNoLink) {
  express(0x0092);
  EXPECT_FALSE(read().link_max);
  EXPECT_EQ(*read().max_payload_bytes, 256u);
}

TEST_F(FromConfig, SixtyFourBytesTellNoCapability) {
  const auto function = read(config_.first(64));
  EXPECT_EQ(*function.vendor_id, 0x1b36);
  const std::string why = "only the first 64 bytes of config space could be read; run as root";
  EXPECT_EQ(function.port_type.why_unknown(), why);
  EXPECT_EQ(function.acs.why_unknown(), why);
  EXPECT_EQ(function.ats_enabled.why_unknown(), why);
  EXPECT_EQ(function.link_now.why_unknown(), why);
  EXPECT_EQ(function.max_read_request_bytes.why_unknown(), why);
  EXPECT_EQ(function.relaxed_ordering.why_unknown(), why);
}

TEST_F(FromConfig, Of256BytesTheExtendedCapabilitiesAreNotKnown) {
  const auto function = read(config_.first(256));
  EXPECT_EQ(*function.port_type, PortType::endpoint);
  EXPECT_EQ(function.acs.why_unknown(), "only the first 256 bytes of config space could be read");
  EXPECT_FALSE(function.ats_enabled);
}

TEST_F(FromConfig, AConventionalFunctionHasNoExtendedCapabilities) {
  config_.write(0x34, 1, 0);
  config_.write(0x04, 4, 0x00000006);
  const auto function = read(config_.first(256));
  EXPECT_EQ(*function.port_type, PortType::conventional);
  ASSERT_TRUE(function.acs);
  EXPECT_FALSE(function.acs->has_value());
  EXPECT_FALSE(*function.ats_enabled);
  EXPECT_FALSE(function.link_max);
}

TEST_F(FromConfig, ADumpThatEndsInsideACapabilityLeavesTheRestUnknown) {
  EXPECT_FALSE(read(config_.first(0x62)).port_type);
  const auto at_device = read(config_.first(0x66));
  EXPECT_EQ(*at_device.port_type, PortType::endpoint);
  EXPECT_FALSE(at_device.max_payload_bytes);
  const auto at_link = read(config_.first(0x70));
  EXPECT_EQ(*at_link.max_payload_bytes, 256u);
  EXPECT_FALSE(at_link.link_now);
}

TEST_F(FromConfig, ReadsAcsAndItsVector) {
  extended(0x100, 0x0d, 0x180);
  config_.write(0x104, 4, 0x0039227f);  // 34 bits of vector
  config_.write(0x108, 4, 0xdeadbeef);
  config_.write(0x10c, 4, 0x00000003);
  extended(0x180, 0x0f, 0);
  config_.write(0x186, 2, 0x8000);
  const auto function = read();
  ASSERT_TRUE(function.acs && function.acs->has_value());
  const AcsInfo& acs = **function.acs;
  EXPECT_EQ(acs.offset, 0x100);
  EXPECT_EQ(acs.capability, 0x227f);
  EXPECT_EQ(acs.control, 0x0039);
  EXPECT_EQ(*acs.egress_control_vector, (std::vector<std::uint32_t>{0xdeadbeef, 3}));
  EXPECT_TRUE(*function.ats_enabled);

  const auto cut = read(config_.first(0x10c));
  EXPECT_EQ((*cut.acs)->control, 0x0039);
  EXPECT_FALSE((*cut.acs)->egress_control_vector);
  EXPECT_FALSE(cut.ats_enabled);
}

TEST_F(FromConfig, AVectorOfSize0Has256Bits) {
  extended(0x100, 0x0d, 0);
  config_.write(0x104, 2, 0x0020);
  EXPECT_EQ((*read().acs)->egress_control_vector->size(), 8u);
  config_.write(0x104, 2, 0x0800);  // a size, but no egress control
  EXPECT_TRUE((*read().acs)->egress_control_vector->empty());
}

TEST_F(FromConfig, ExtendedSpaceThatCantBeReachedTellsNothing) {
  config_.write(0x100, 4, 0xffffffff);
  EXPECT_EQ(read().acs.why_unknown(), "the extended config space reads as all ones: it can't be reached");
}

TEST_F(FromConfig, TheVectorOfSpeedsDecidesAgainstAWrongMaximum) {
  config_.write(0x6c, 4, 0x00000106);  // 64 GT/s
  config_.write(0x8c, 4, 0x0000001e);  // but the vector ends at 16
  EXPECT_EQ(read().link_max->speed_mtps, 16000u);
  config_.write(0x8c, 4, 0);  // no vector
  EXPECT_EQ(read().link_max->speed_mtps, 64000u);
  express(0x0001);  // version 1 has none: what lies there is something else
  config_.write(0x8c, 4, 0x0000001e);
  EXPECT_EQ(read().link_max->speed_mtps, 64000u);
}

TEST_F(FromConfig, ReservedEncodingsAreUnknown) {
  config_.write(0x6c, 4, 0x00000107);
  config_.write(0x8c, 4, 0);
  config_.write(0x68, 2, 0x70e0);
  const auto function = read();
  EXPECT_FALSE(function.link_max);
  EXPECT_FALSE(function.max_payload_bytes);
  EXPECT_FALSE(function.max_read_request_bytes);
  config_.write(0x6c, 4, 0x00000035);  // three lanes
  EXPECT_FALSE(read().link_max);
}

TEST_F(FromConfig, ALinkThatIsDownHasNoWidth) {
  config_.write(0x6c, 4, 0x07100105);  // tells whether the link is active
  EXPECT_EQ(*read().link_now, LinkState{});
  config_.write(0x72, 2, 0x2084);
  EXPECT_EQ(*read().link_now, (LinkState{16000, 8}));
}

TEST_F(FromConfig, ReadsBridges) {
  config_.write(0x08, 4, 0x06040000);
  config_.write(0x0e, 1, 0x81);
  config_.write(0x18, 4, 0x00050302);
  const auto function = read();
  ASSERT_TRUE(function.bridge);
  EXPECT_EQ(function.bridge->secondary, 3);
  EXPECT_EQ(function.bridge->subordinate, 5);
  EXPECT_TRUE(function.controller_memory && !function.controller_memory->has_value());
  config_.write(0x18, 4, 0);
  EXPECT_FALSE(read().bridge);
  config_.write(0x18, 4, 0x00020302);
  EXPECT_EQ(refusal(),
            "reading the config space of 0000:03:00.1 in the test, offset 0x1a: "
            "the bridge's last bus, 02, is below its first, 03");
}

TEST_F(FromConfig, ReadsBarsWithoutTheirSizes) {
  config_.write(0x10, 4, 0xfe00000c);
  config_.write(0x14, 4, 0x00000012);
  config_.write(0x18, 4, 0x0000e001);
  config_.write(0x1c, 4, 0x00000008);
  const auto function = read();
  ASSERT_EQ(function.bars.size(), 3u);
  EXPECT_EQ(function.bars[0].address->value, 0x12fe000000u);
  EXPECT_TRUE(function.bars[0].is_64bit && function.bars[0].is_prefetchable);
  EXPECT_FALSE(function.bars[0].size_bytes);
  EXPECT_EQ(function.bars[1].kind, BarInfo::Kind::io);
  EXPECT_FALSE(function.bars[1].address);  // I/O is off
  EXPECT_EQ(function.bars[2].address.why_unknown(), "no address is assigned");
}

TEST_F(FromConfig, ASilentFunctionIsUnknownThroughout) {
  const std::vector<std::uint8_t> ones(4096, 0xff);
  const auto function = read(ConfigSpace(ones));
  EXPECT_FALSE(function.vendor_id);
  EXPECT_FALSE(function.port_type);
  EXPECT_FALSE(function.acs);
  EXPECT_FALSE(function.bridge);
}

TEST_F(FromConfig, AVirtualFunctionDoesntNameItsVendor) {
  config_.write(0x00, 4, 0xffffffff);
  EXPECT_FALSE(read().vendor_id);
  EXPECT_EQ(*read().class_code, 0x010802u);
}

TEST_F(FromConfig, RefusesBrokenBytesWithTheirPlace) {
  config_.write(0x61, 1, 0x60);
  EXPECT_NE(refusal().find("0000:03:00.1 in the test, offset 0x61: the capability list loops"), std::string::npos);
  config_.write(0x61, 1, 0);
  extended(0x100, 0x01, 0x100);
  EXPECT_NE(refusal().find("offset 0x100: the extended capability list loops"), std::string::npos);
  extended(0x100, 0x0d, 0);
  EXPECT_EQ(refusal(), "read");
  extended(0x100, 0x01, 0xffc);
  extended(0xffc, 0x0d, 0);
  EXPECT_NE(refusal().find("offset 0xffc: the ACS capability runs over the end"), std::string::npos);
  extended(0x100, 0x01, 0xff0);
  extended(0xff0, 0x0d, 0);
  config_.write(0xff4, 2, 0x0020);
  EXPECT_NE(refusal().find("offset 0xff0: the ACS egress control vector of 256 bits"), std::string::npos);
  config_.write(0x34, 1, 0xfc);
  config_.write(0xfc, 4, 0x00020010);
  EXPECT_NE(refusal().find("offset 0xfc: the Express capability needs 20 bytes and starts 4 before"),
            std::string::npos);
  config_.write(0x24, 4, 0x00000004);
  EXPECT_NE(refusal().find("offset 0x24: BAR 5 is a 64-bit one"), std::string::npos);
  EXPECT_FALSE(function_from_config(kBdf, config_.first(63), "the test"));
}

TEST_F(FromConfig, FindsTheVirtualFunctions) {
  extended(0x100, 0x10, 0);
  config_.write(0x108, 2, 1);       // enabled
  config_.write(0x110, 2, 3);       // three of them
  config_.write(0x114, 2, 0x0007);  // the first is seven numbers further
  config_.write(0x116, 2, 2);
  EXPECT_EQ(virtual_functions_of({0, 3, 0, 1}, config_), (std::vector<Bdf>{{0, 3, 1, 0}, {0, 3, 1, 2}, {0, 3, 1, 4}}));
  EXPECT_EQ(virtual_functions_of({0, 0xff, 0x1f, 0}, config_), (std::vector<Bdf>{{0, 0xff, 0x1f, 7}}));
  config_.write(0x116, 2, 0);
  EXPECT_TRUE(virtual_functions_of({0, 3, 0, 1}, config_).empty());
  config_.write(0x108, 2, 0);
  EXPECT_TRUE(virtual_functions_of({0, 3, 0, 1}, config_).empty());
}

// Knowing less is no other fact.
template <class T>
bool is_same_or_unknown(const Known<T>& part, const Known<T>& whole) {
  return !part || part == whole;
}

// Whatever the bytes are, reading them ends, and knowing fewer of them never makes another fact of one: it stays what it
// was, or becomes unknown.
TEST(FromConfigProperty, FewerBytesNeverChangeAFact) {
  const bool holds = rc::check([](const std::vector<std::uint8_t>& noise) {
    ConfigSpace config = ConfigSpace::blank();
    config.write(0x06, 2, 0x0010);
    config.write(0x34, 1, 0x40);
    config.write(0x40, 2, 0x0010);
    config.write(0x100, 4, 0x2000000d | 1 << 16);
    for (std::size_t index = 0; index + 1 < noise.size(); index += 2)
      config.write(noise[index] % 2 == 0 ? 0x40u + noise[index] / 2 : 0x100u + noise[index], 1, noise[index + 1]);
    const auto whole = describe_function({}, config);
    for (const std::size_t known : {64u, 65u, 80u, 128u, 256u, 260u, 264u, 1024u}) {
      const auto part = describe_function({}, config.first(known));
      if (!whole || !part) continue;
      RC_ASSERT(is_same_or_unknown(part->port_type, whole->port_type));
      RC_ASSERT(is_same_or_unknown(part->link_now, whole->link_now));
      RC_ASSERT(is_same_or_unknown(part->max_payload_bytes, whole->max_payload_bytes));
      RC_ASSERT(is_same_or_unknown(part->ats_enabled, whole->ats_enabled));
    }
  });
  EXPECT_TRUE(holds);
}

}  // namespace
}  // namespace barter::topology
