// The real `lspci -F` reads the config spaces that are built with our registers, and must see in them what we see.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/random.h"
#include "pci/bar.h"
#include "pci/bridge_window.h"
#include "pci/capabilities/acs.h"
#include "pci/capabilities/ats.h"
#include "pci/capabilities/express.h"
#include "pci/capabilities/msix.h"
#include "pci/capabilities/power_management.h"
#include "pci/capabilities/sriov.h"
#include "pci/config_header.h"
#include "pci/dump.h"
#include "topology/from_config.h"
#include "topology/load.h"

namespace barter::topology {
namespace {

namespace express = pci::express;
using pci::ConfigSpace;

// One function with every capability that we lay out, with values drawn from `random`.
class Maker {
 public:
  Maker(base::Random& random, bool is_bridge) : random_(random), is_bridge_(is_bridge) {
    header();
    power_management(0x40, 0x50);
    msix(0x50, 0x70);
    express_capability(0x70);
    acs(0x100, 0x140);
    ats(0x140);
  }
  [[nodiscard]] const ConfigSpace& config() const { return config_; }

 private:
  std::uint32_t pick(std::uint32_t bound) { return static_cast<std::uint32_t>(random_.below(bound)); }
  bool flip() { return pick(2) == 1; }
  std::uint8_t byte(std::uint32_t bound) { return static_cast<std::uint8_t>(pick(bound)); }
  std::uint16_t word(std::uint32_t bound) { return static_cast<std::uint16_t>(pick(bound)); }

  void capability(std::uint16_t at, std::uint16_t id, std::uint16_t next) {
    using H = pci::CapabilityHeader;
    config_.store(H{}.with(H::id, id).with(H::next, next), at);
  }
  void extended(std::uint16_t at, std::uint16_t id, std::uint16_t next) {
    using H = pci::ExtendedCapabilityHeader;
    config_.store(H{}.with(H::id, id).with(H::version, 1).with(H::next, next), at);
  }

  void header() {
    config_.store(pci::VendorId::from(0x1b36));
    config_.store(pci::DeviceId::from(word(0xfffe)));
    config_.store(pci::Command{}.with(pci::Command::memory_space, true).with(pci::Command::bus_master, flip()));
    config_.store(pci::Status{}.with(pci::Status::capabilities_list, true));
    config_.store(pci::CapabilitiesPointer::from(0x40));
    config_.store(pci::ClassRevision{}.with(pci::ClassRevision::class_code, is_bridge_ ? 0x060400 : 0x010802));
    config_.store(pci::HeaderType{}.with(pci::HeaderType::layout, is_bridge_ ? 1 : 0));
    const auto bar = pci::encode_bar(
        {.is_64bit = true, .is_prefetchable = flip(), .address = std::uint64_t{1 + pick(0xffff)} << 28});
    config_.store(pci::BaseAddress::from(bar.low));
    config_.store(pci::BaseAddress::from(bar.high), 4);
    if (!is_bridge_) return;
    const std::uint8_t secondary = static_cast<std::uint8_t>(1 + byte(100));
    config_.store(pci::bridge::SecondaryBus::from(secondary));
    config_.store(pci::bridge::SubordinateBus::from(static_cast<std::uint8_t>(secondary + byte(100))));
    pci::store_io_window(config_, std::nullopt);
    const std::uint64_t memory = std::uint64_t{0x800 + pick(0x100)} << 20;
    pci::store_memory_window(config_, pci::AddressWindow{memory, memory + (std::uint64_t{1 + pick(64)} << 20) - 1});
    const std::uint64_t prefetchable = std::uint64_t{0x10000 + pick(0x10000)} << 20;
    pci::store_prefetchable_window(
        config_, pci::AddressWindow{prefetchable, prefetchable + (std::uint64_t{1 + pick(64)} << 20) - 1});
  }

  void power_management(std::uint16_t at, std::uint16_t next) {
    using C = pci::power_management::Capabilities;
    capability(at, pci::power_management::kId, next);
    config_.store(C{}.with(C::version, C::kVersion), at);
  }

  void msix(std::uint16_t at, std::uint16_t next) {
    using namespace pci::msix;
    capability(at, kId, next);
    config_.store(MessageControl{}
                      .with(MessageControl::table_size_0based, word(2048))
                      .with(MessageControl::enable, flip())
                      .with(MessageControl::function_mask, flip()),
                  at);
    config_.store(Table{}.with(Table::offset_qwords, 0x400), at);
    config_.store(PendingBitArray{}.with(PendingBitArray::offset_qwords, 0x600), at);
  }

  void express_capability(std::uint16_t at) {
    using namespace express;
    static constexpr std::uint8_t kBridgeTypes[] = {Capabilities::kRootPort, Capabilities::kUpstreamPort,
                                                    Capabilities::kDownstreamPort};
    static constexpr std::uint8_t kWidths[] = {1, 2, 4, 8, 16};
    capability(at, kId, 0);
    config_.store(Capabilities{}
                      .with(Capabilities::version, 2)
                      .with(Capabilities::port_type, is_bridge_ ? kBridgeTypes[pick(3)] : Capabilities::kEndpoint),
                  at);
    config_.store(DeviceCapabilities{}
                      .with(DeviceCapabilities::max_payload_log2_minus7, pick(6))
                      .with(DeviceCapabilities::role_based_error_reporting, true),
                  at);
    config_.store(DeviceControl{}
                      .with(DeviceControl::max_payload_log2_minus7, word(6))
                      .with(DeviceControl::max_read_request_log2_minus7, word(6))
                      .with(DeviceControl::relaxed_ordering, flip()),
                  at);
    const std::uint32_t speed = 1 + pick(6);
    config_.store(LinkCapabilities{}
                      .with(LinkCapabilities::max_link_speed, speed)
                      .with(LinkCapabilities::max_link_width, kWidths[pick(5)])
                      .with(LinkCapabilities::port_number, byte(255)),
                  at);
    config_.store(LinkStatus{}
                      .with(LinkStatus::current_link_speed, static_cast<std::uint16_t>(1 + pick(speed)))
                      .with(LinkStatus::negotiated_link_width, kWidths[pick(5)]),
                  at);
    config_.store(LinkCapabilities2{}.with(LinkCapabilities2::supported_link_speeds, (1u << speed) - 1), at);
  }

  void acs(std::uint16_t at, std::uint16_t next) {
    using namespace pci::acs;
    extended(at, kId, next);
    config_.store(Capability::from(static_cast<std::uint16_t>(0x0800 | word(0x80))), at);
    config_.store(Control::from(word(0x80)), at);
    config_.store(EgressControlVector::from(0xa5), at);
  }

  void ats(std::uint16_t at) {
    using namespace pci::ats;
    extended(at, kId, 0);
    config_.store(Control{}.with(Control::enable, flip()), at);
  }

  base::Random& random_;
  bool is_bridge_;
  ConfigSpace config_ = ConfigSpace::blank();
};

std::string run(const std::string& command) {
  std::string output;
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[4096];
  while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, count);
  pclose(pipe);
  return output;
}

// What the first group of a pattern matches in lspci's words, or the pattern itself, to be seen in the failure.
std::string said(const std::string& text, const std::string& pattern) {
  std::smatch match;
  return std::regex_search(text, match, std::regex(pattern)) ? match[1].str() : "nothing like " + pattern;
}

std::string speed_words(std::uint32_t mtps) {
  return mtps % 1000 == 0 ? fmt::format("{}", mtps / 1000) : fmt::format("{}.{}", mtps / 1000, mtps % 1000 / 100);
}

std::string acs_words(std::uint16_t bits) {
  std::string words;
  const char* names[] = {"SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans"};
  for (unsigned bit = 0; bit < 7; ++bit)
    words += std::string(bit == 0 ? "" : " ") + names[bit] + (bits >> bit & 1 ? "+" : "-");
  return words;
}

void compare(const std::string& text, const FunctionInfo& ours) {
  SCOPED_TRACE(text);
  EXPECT_EQ(said(text, "^[^ ]+ ([0-9a-f]{4}): "), fmt::format("{:04x}", *ours.class_code >> 8));
  EXPECT_EQ(said(text, "^[^ ]+ [0-9a-f]{4}: ([0-9a-f:]{9})"),
            fmt::format("{:04x}:{:04x}", *ours.vendor_id, *ours.device_id));
  EXPECT_EQ(said(text, "Region 0: Memory at ([0-9a-f]+) "), fmt::format("{:x}", ours.bars.at(0).address->value));
  EXPECT_EQ(said(text, "Region 0: Memory at [0-9a-f]+ \\(64-bit, ([a-z-]+)\\)"),
            ours.bars.at(0).is_prefetchable ? "prefetchable" : "non-prefetchable");
  EXPECT_EQ(said(text, "DevCap:\\s+MaxPayload ([0-9]+) bytes"), fmt::format("{}", *ours.max_payload_supported_bytes));
  EXPECT_EQ(said(text, "\\sMaxPayload ([0-9]+) bytes, MaxReadReq"), fmt::format("{}", *ours.max_payload_bytes));
  EXPECT_EQ(said(text, "MaxReadReq ([0-9]+) bytes"), fmt::format("{}", *ours.max_read_request_bytes));
  EXPECT_EQ(said(text, "RlxdOrd([+-])"), *ours.relaxed_ordering ? "+" : "-");
  EXPECT_EQ(said(text, "LnkCap:\\s+Port #([0-9]+)"), fmt::format("{}", ours.port_number));
  EXPECT_EQ(said(text, "LnkCap:.*Speed ([0-9.]+)GT/s"), speed_words(ours.link_max->speed_mtps));
  EXPECT_EQ(said(text, "LnkCap:.*Width x([0-9]+)"), fmt::format("{}", ours.link_max->width));
  EXPECT_EQ(said(text, "LnkSta:\\s+Speed ([0-9.]+)GT/s"), speed_words(ours.link_now->speed_mtps));
  EXPECT_EQ(said(text, "LnkSta:.*Width x([0-9]+)"), fmt::format("{}", ours.link_now->width));
  const AcsInfo& acs = ours.acs->value();
  EXPECT_EQ(said(text, "\\[([0-9a-f]+) v1\\] Access Control Services"), fmt::format("{:x}", acs.offset));
  EXPECT_EQ(said(text, "ACSCap:\\s+(.*)"), acs_words(acs.capability));
  EXPECT_EQ(said(text, "ACSCtl:\\s+(.*)"), acs_words(acs.control));
  EXPECT_EQ(said(text, "ATSCtl:\\s+Enable([+-])"), *ours.ats_enabled ? "+" : "-");
  if (ours.bridge) {
    EXPECT_EQ(said(text, "secondary=([0-9a-f]{2})"), fmt::format("{:02x}", ours.bridge->secondary));
    EXPECT_EQ(said(text, "subordinate=([0-9a-f]{2})"), fmt::format("{:02x}", ours.bridge->subordinate));
  }
}

// lspci's words for each function, by its name.
std::map<std::string, std::string> lspci(const std::filesystem::path& dump) {
  const std::string text = run("LC_ALL=C lspci -F '" + dump.string() + "' -vvv -n -D 2>/dev/null");
  std::map<std::string, std::string> functions;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find("\n\n", at), text.size());
    const std::string words = text.substr(at, end - at);
    functions[words.substr(0, words.find(' '))] = words;
    at = end + 2;
  }
  return functions;
}

class Lspci : public ::testing::Test {
 protected:
  Lspci() : file_(std::filesystem::temp_directory_path() / fmt::format("barter-lspci-{}.txt", getpid())) {}
  ~Lspci() override { std::filesystem::remove(file_); }
  void SetUp() override {
    if (run("command -v lspci").empty()) GTEST_SKIP() << "skipped: lspci (pciutils) is not installed";
  }
  void write(const std::vector<pci::DumpedFunction>& functions) { std::ofstream(file_) << pci::dump(functions); }

  std::filesystem::path file_;
};

TEST_F(Lspci, SeesInOurBytesWhatWeSee) {
  base::Random random(0xb0a7);
  std::vector<pci::DumpedFunction> functions;
  for (std::uint8_t device = 0; device < 32; ++device)
    functions.push_back({Bdf{device / 8u, 0, device, 0}, Maker(random, device % 2 == 0).config()});
  write(functions);
  const auto theirs = lspci(file_);
  ASSERT_EQ(theirs.size(), functions.size());
  for (const auto& function : functions) {
    const auto ours = function_from_config(function.bdf, function.config, "the test");
    ASSERT_TRUE(ours) << ours.error().message();
    ASSERT_TRUE(theirs.contains(function.bdf.to_string()));
    compare(theirs.at(function.bdf.to_string()), *ours);
  }
}

TEST_F(Lspci, SeesTheSameWindows) {
  base::Random random(3);
  const ConfigSpace config = Maker(random, true).config();
  write({{Bdf{}, config}});
  const std::string text = lspci(file_).at("0000:00:00.0");
  const auto memory = pci::memory_window(config);
  const auto prefetchable = pci::prefetchable_window(config);
  ASSERT_TRUE(memory && prefetchable);
  EXPECT_EQ(pci::io_window(config), std::nullopt);
  EXPECT_EQ(said(text, "Memory behind bridge: ([0-9a-f-]+)"),
            fmt::format("{:08x}-{:08x}", memory->first, memory->last));
  EXPECT_EQ(said(text, "Prefetchable memory behind bridge: ([0-9a-f-]+)"),
            fmt::format("{:016x}-{:016x}", prefetchable->first, prefetchable->last));
  EXPECT_EQ(said(text, "I/O behind bridge:.*(\\[disabled\\])"), "[disabled]") << text;
}

TEST_F(Lspci, DoesNotComplain) {
  base::Random random(4);
  write({{Bdf{}, Maker(random, false).config()}, {Bdf{0, 0, 1, 0}, Maker(random, true).config()}});
  for (const auto& [name, words] : lspci(file_))
    for (const char* complaint : {"broken", "looped", "!!!", "Unknown header", "lspci:", "pcilib:"})
      EXPECT_EQ(words.find(complaint), std::string::npos) << words;
}

TEST_F(Lspci, AgreesOnFunctionsThatAreKnownInPart) {
  base::Random random(5);
  write(
      {{Bdf{}, Maker(random, false).config().first(64)}, {Bdf{0, 0, 1, 0}, Maker(random, false).config().first(256)}});
  const auto theirs = lspci(file_);
  EXPECT_NE(theirs.at("0000:00:00.0").find("Capabilities: <access denied>"), std::string::npos);
  EXPECT_EQ(theirs.at("0000:00:01.0").find("Access Control Services"), std::string::npos);
  const auto ours = load_lspci_hex(file_);
  ASSERT_TRUE(ours) << ours.error().message();
  EXPECT_FALSE(ours->functions.at(0).port_type);
  EXPECT_TRUE(ours->functions.at(1).port_type);
  EXPECT_FALSE(ours->functions.at(1).acs);
}

}  // namespace
}  // namespace barter::topology
