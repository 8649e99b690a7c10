#include "topology/load_lspci_text.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "topology/load.h"

namespace barter::topology {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A small list of names: two devices share one, and so do two vendors.
const PciIds& names() {
  static const PciIds list(
      "# comment\n"
      "8086  Intel Corporation\n"
      "\t2f02  Haswell-E PCI Express Root Port 1\n"
      "\t1521  I350 Gigabit Network Connection\n"
      "\t\t8086 0001  Ethernet Server Adapter\n"
      "\taaaa  Twin\n"
      "\tbbbb  Twin\n"
      "8888  Intel\n"
      "10b5  PLX Technology, Inc.\n"
      "1111  Ambiguous Ltd.\n"
      "2222  Ambiguous Ltd.\n"
      "C 02  Network controller\n"
      "\t00  Ethernet controller\n"
      "C 06  Bridge\n"
      "\t00  Host bridge\n"
      "\t04  PCI bridge\n"
      "\t\t00  Normal decode\n");
  return list;
}

// lspci 3.9 as root, in short: a root port with ACS, a network card with a virtual function.
constexpr std::string_view kModern =
    "0000:00:01.0 PCI bridge [0604]: Intel Corporation Haswell-E PCI Express Root Port 1 [8086:2f02] (rev 02) (prog-if "
    "00 "
    "[Normal decode])\n"
    "\tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr+ Stepping- SERR+ FastB2B- DisINTx+\n"
    "\tStatus: Cap+ 66MHz- UDF- FastB2B- ParErr- DEVSEL=fast >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-\n"
    "\tNUMA node: 1\n"
    "\tIOMMU group: 26\n"
    "\tBus: primary=00, secondary=04, subordinate=0a, sec-latency=0\n"
    "\tCapabilities: [90] Express (v2) Root Port (Slot+), MSI 00\n"
    "\t\tDevCap:\tMaxPayload 256 bytes, PhantFunc 0\n"
    "\t\t\tExtTag- RBE+\n"
    "\t\tDevCtl:\tCorrErr- NonFatalErr+ FatalErr+ UnsupReq+\n"
    "\t\t\tRlxdOrd- ExtTag- PhantFunc- AuxPwr- NoSnoop-\n"
    "\t\t\tMaxPayload 128 bytes, MaxReadReq 512 bytes\n"
    "\t\tLnkCap:\tPort #5, Speed 8GT/s, Width x8, ASPM L1, Exit Latency L1 <16us\n"
    "\t\t\tClockPM- Surprise+ LLActRep+ BwNot+ ASPMOptComp+\n"
    "\t\tLnkSta:\tSpeed 2.5GT/s (downgraded), Width x4 (downgraded)\n"
    "\t\t\tTrErr- Train- SlotClk+ DLActive+ BWMgmt- ABWMgmt-\n"
    "\t\tLnkCap2: Supported Link Speeds: 2.5-8GT/s, Crosslink- Retimer- 2Retimers- DRS-\n"
    "\tCapabilities: [110 v1] Access Control Services\n"
    "\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-\n"
    "\t\tACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir- UpstreamFwd+ EgressCtrl- DirectTrans-\n"
    "\tKernel driver in use: pcieport\n"
    "\n"
    "0000:04:00.0 Ethernet controller [0200]: Intel Corporation I350 Gigabit Network Connection [8086:1521] (rev 01)\n"
    "\tRegion 0: Memory at 33ff0000000 (64-bit, prefetchable) [size=8M]\n"
    "\tRegion 2: I/O ports at d000 [disabled] [size=32]\n"
    "\tRegion 3: Memory at <ignored> (32-bit, non-prefetchable) [disabled]\n"
    "\tRegion 4: [virtual] Memory at fe000000 (32-bit, non-prefetchable) [size=512]\n"
    "\tCapabilities: [a0] Express (v2) Endpoint, IntMsgNum 0\n"
    "\t\tLnkCap:\tPort #0, Speed 16GT/s, Width x16\n"
    "\t\tLnkSta:\tSpeed unknown, Width x0\n"
    "\tCapabilities: [160 v1] Single Root I/O Virtualization (SR-IOV)\n"
    "\t\tIOVCap:\tMigration- 10BitTagReq- Interrupt Message Number: 000\n"
    "\t\tIOVCtl:\tEnable+ Migration- Interrupt- MSE+ ARIHierarchy- 10BitTagReq-\n"
    "\t\tInitial VFs: 8, Total VFs: 8, Number of VFs: 2, Function Dependency Link: 00\n"
    "\t\tVF offset: 384, stride: 4, Device ID: 1520\n"
    "\t\tRegion 0: Memory at 00000000e0000000 (64-bit, prefetchable)\n"
    "\tCapabilities: [1a0 v1] Address Translation Service (ATS)\n"
    "\t\tATSCap:\tInvalidate Queue Depth: 00\n"
    "\t\tATSCtl:\tEnable+, Smallest Translation Unit: 00\n"
    "\n"
    "0000:05:10.0 Ethernet controller [0200]: Intel Corporation Device [8086:1520]\n"
    "\tStatus: Cap- 66MHz-\n"
    "\n";

const FunctionInfo* find(const TopologyParts& parts, std::string_view bdf) {
  for (const FunctionInfo& function : parts.functions)
    if (function.bdf.to_string() == bdf) return &function;
  return nullptr;
}

TEST(LspciText, ReadsAPort) {
  const auto parts = load_lspci_text(kModern, "modern", names());
  ASSERT_TRUE(parts) << parts.error().message();
  ASSERT_EQ(parts->functions.size(), 3u);
  const FunctionInfo& port = parts->functions[0];
  EXPECT_EQ(port.bdf.to_string(), "0000:00:01.0");
  EXPECT_EQ(port.vendor_id, Known<std::uint16_t>(0x8086));
  EXPECT_EQ(port.device_id, Known<std::uint16_t>(0x2f02));
  EXPECT_EQ(port.class_code, Known<std::uint32_t>(0x060400));
  EXPECT_EQ(port.vendor_name, "Intel Corporation");
  EXPECT_EQ(port.device_name, "Haswell-E PCI Express Root Port 1");
  EXPECT_EQ(port.port_type, Known<PortType>(PortType::root_port));
  ASSERT_TRUE(port.bridge);
  EXPECT_EQ(port.bridge->secondary, 4);
  EXPECT_EQ(port.bridge->subordinate, 10);
  EXPECT_EQ(port.max_payload_supported_bytes, Known<std::uint32_t>(256));
  EXPECT_EQ(port.max_payload_bytes, Known<std::uint32_t>(128));
  EXPECT_EQ(port.max_read_request_bytes, Known<std::uint32_t>(512));
  EXPECT_EQ(port.relaxed_ordering, Known<bool>(false));
  EXPECT_EQ(port.port_number, 5);
  EXPECT_EQ(port.link_max, Known<LinkState>(LinkState{8000, 8}));
  EXPECT_EQ(port.link_now, Known<LinkState>(LinkState{2500, 4}));
  EXPECT_EQ(port.numa_node, Known<std::int32_t>(1));
  EXPECT_EQ(port.iommu_group, Known<std::optional<std::uint32_t>>(26u));
  EXPECT_EQ(port.ats_enabled, Known<bool>(false));
  ASSERT_TRUE(port.acs);
  ASSERT_TRUE(*port.acs);
  EXPECT_EQ((*port.acs)->capability, 0x1f);
  EXPECT_EQ((*port.acs)->control, 0x15);
  EXPECT_EQ((*port.acs)->offset, 0x110);
}

TEST(LspciText, ReadsAnEndpoint) {
  const auto parts = load_lspci_text(kModern, "modern", names());
  ASSERT_TRUE(parts) << parts.error().message();
  const FunctionInfo& card = parts->functions[1];
  EXPECT_EQ(card.port_type, Known<PortType>(PortType::endpoint));
  ASSERT_EQ(card.bars.size(), 4u);  // the region of the virtual functions is not one of its own
  EXPECT_EQ(card.bars[0].size_bytes, Known<std::uint64_t>(8u << 20));
  EXPECT_EQ(card.bars[0].address, Known<BusAddress>(BusAddress{0x33ff0000000}));
  EXPECT_TRUE(card.bars[0].is_64bit);
  EXPECT_TRUE(card.bars[0].is_prefetchable);
  EXPECT_EQ(card.bars[1].kind, BarInfo::Kind::io);
  EXPECT_EQ(card.bars[1].size_bytes, Known<std::uint64_t>(32));
  EXPECT_EQ(card.bars[2].index, 3);
  EXPECT_THAT(card.bars[2].address.why_unknown(), HasSubstr("<ignored>"));
  EXPECT_FALSE(card.bars[2].size_bytes);
  EXPECT_FALSE(card.bars[2].is_prefetchable);
  EXPECT_EQ(card.bars[3].address, Known<BusAddress>(BusAddress{0xfe000000}));
  EXPECT_EQ(card.bars[3].size_bytes, Known<std::uint64_t>(512));
  EXPECT_EQ(card.link_now, Known<LinkState>(LinkState{0, 0}));  // no link is up
  EXPECT_EQ(card.link_max, Known<LinkState>(LinkState{16000, 16}));
  EXPECT_EQ(card.ats_enabled, Known<bool>(true));
  ASSERT_TRUE(card.acs) << card.acs.why_unknown();  // its list goes on in extended space, and ACS is not in it
  EXPECT_FALSE(*card.acs);
  EXPECT_EQ(card.iommu_group, Known<std::optional<std::uint32_t>>(std::optional<std::uint32_t>()));
  EXPECT_FALSE(card.numa_node);
}

TEST(LspciText, FindsVirtualFunctions) {
  // 04:00.0 is requester 0x0400; the first of its functions is 384 further: 0x0580 is 05:10.0.
  const auto parts = load_lspci_text(kModern, "modern", names());
  ASSERT_TRUE(parts);
  ASSERT_TRUE(parts->functions[2].physical_function);
  EXPECT_EQ(parts->functions[2].physical_function->to_string(), "0000:04:00.0");
  EXPECT_EQ(parts->functions[2].port_type, Known<PortType>(PortType::conventional));
}

// What one function's text gives.
FunctionInfo only(std::string_view text) {
  auto parts = load_lspci_text(text, "one", names());
  EXPECT_TRUE(parts) << parts.error().message();
  return parts ? std::move(parts->functions.at(0)) : FunctionInfo{};
}

TEST(LspciText, LooksNamesUp) {
  const FunctionInfo named =
      only("00:19.0 Ethernet controller: Intel Corporation I350 Gigabit Network Connection (rev 01)\n\tX\n\n");
  EXPECT_EQ(named.vendor_id, Known<std::uint16_t>(0x8086));
  EXPECT_EQ(named.device_id, Known<std::uint16_t>(0x1521));
  EXPECT_EQ(named.class_code, Known<std::uint32_t>(0x020000));

  const FunctionInfo numbered =
      only("00:19.0 Ethernet controller: Intel Corporation Device 6000 (prog-if 01)\n\tX\n\n");
  EXPECT_EQ(numbered.device_id, Known<std::uint16_t>(0x6000));
  EXPECT_EQ(numbered.class_code, Known<std::uint32_t>(0x020001));

  const FunctionInfo bare = only("00:19.0 0200: 8086:6000 (rev 01)\n\tX\n\n");
  EXPECT_EQ(bare.device_id, Known<std::uint16_t>(0x6000));
  EXPECT_EQ(bare.class_code, Known<std::uint32_t>(0x020000));

  const FunctionInfo unlisted = only("00:19.0 Unassigned class [ff00]: Device abcd:0001\n\tX\n\n");
  EXPECT_EQ(unlisted.vendor_id, Known<std::uint16_t>(0xabcd));
  EXPECT_EQ(unlisted.class_code, Known<std::uint32_t>(0xff0000));
}

TEST(LspciText, DoesNotGuessNames) {
  const FunctionInfo twin = only("00:19.0 Ethernet controller: Intel Corporation Twin\n\tX\n\n");
  EXPECT_EQ(twin.vendor_id, Known<std::uint16_t>(0x8086));
  EXPECT_EQ(twin.device_id.why_unknown(), "pci.ids has 2 devices called 'Twin'");
  EXPECT_EQ(twin.device_name, "Twin");

  const FunctionInfo ambiguous = only("00:19.0 Ethernet controller: Ambiguous Ltd. Thing\n\tX\n\n");
  EXPECT_THAT(ambiguous.vendor_id.why_unknown(), HasSubstr("2 vendors"));
  EXPECT_FALSE(ambiguous.device_id);

  const FunctionInfo strange = only("00:19.0 Flux capacitor: Nobody Inc. Thing\n\tX\n\n");
  EXPECT_THAT(strange.vendor_id.why_unknown(), HasSubstr("no vendor that begins 'Nobody Inc. Thing'"));
  EXPECT_THAT(strange.class_code.why_unknown(), HasSubstr("no class called 'Flux capacitor'"));

  const PciIds nothing("");
  const auto parts = load_lspci_text("00:19.0 Ethernet controller: Intel Corporation Twin\n\tX\n\n", "one", nothing);
  ASSERT_TRUE(parts);
  EXPECT_THAT(parts->functions[0].vendor_id.why_unknown(), HasSubstr("there is no pci.ids"));
}

TEST(LspciText, TakesNumbersFromHex) {
  const FunctionInfo function = only(
      "00:19.0 Ethernet controller: Intel Corporation Twin\n\tStatus: Cap-\n"
      "00: 86 80 bb bb 07 05 10 00 02 30 00 02 10 00 00 00\n10: 00 00 00 00\n\n");
  EXPECT_EQ(function.device_id, Known<std::uint16_t>(0xbbbb));
}

TEST(LspciText, WithoutRootCapabilitiesAreUnknown) {
  const FunctionInfo function = only(
      "00:19.0 Ethernet controller: Intel Corporation Twin\n\tRegion 0: Memory at f000 (32-bit, non-prefetchable) "
      "[size=4K]\n\tCapabilities: <access denied>\n\tKernel driver in use: igb\n\n");
  EXPECT_EQ(function.acs.why_unknown(), "lspci ran without root: run it as root");
  EXPECT_EQ(function.port_type.why_unknown(), "lspci ran without root: run it as root");
  EXPECT_EQ(function.link_now.why_unknown(), "lspci ran without root: run it as root");
  EXPECT_FALSE(function.ats_enabled);
  EXPECT_EQ(function.bars.size(), 1u);
}

TEST(LspciText, AbsentAcsIsKnownOnlyWhereExtendedSpaceWasSeen) {
  constexpr std::string_view kCard =
      "00:19.0 Ethernet controller: Intel Corporation Twin\n\tCapabilities: [a0] Express (v2) Endpoint, MSI 00\n\n";
  EXPECT_THAT(only(kCard).acs.why_unknown(), HasSubstr("extended capability"));
  const auto with_other = load_lspci_text(std::string(kCard) +
                                              "00:1a.0 Ethernet controller: Intel Corporation Twin\n"
                                              "\tCapabilities: [a0] Express (v2) Endpoint, MSI 00\n"
                                              "\tCapabilities: [100 v1] Advanced Error Reporting\n\n",
                                          "two", names());
  ASSERT_TRUE(with_other);
  ASSERT_TRUE(with_other->functions[0].acs);
  EXPECT_FALSE(*with_other->functions[0].acs);
  const FunctionInfo broken = only(
      "00:19.0 Ethernet controller: Intel Corporation Twin\n\tCapabilities: [a0] Express (v2) Endpoint, MSI 00\n"
      "\tCapabilities: [100 v1] Advanced Error Reporting\n\tCapabilities: [fff v1] <chain looped>\n\n");
  EXPECT_THAT(broken.acs.why_unknown(), HasSubstr("broken"));
  const FunctionInfo brief = only(
      "00:19.0 Ethernet controller: Intel Corporation Twin\n\tCapabilities: [a0] Express Endpoint, MSI 00\n"
      "\tCapabilities: [100] Access Control Services\n\n");
  EXPECT_THAT(brief.acs.why_unknown(), HasSubstr("without its registers"));
}

TEST(LspciText, AGoneDeviceTellsNothing) {
  const FunctionInfo gone = only(
      "00:19.0 Ethernet controller: Intel Corporation Twin (rev ff) (prog-if ff)\n\t!!! Unknown header type 7f\n\n");
  EXPECT_THAT(gone.acs.why_unknown(), HasSubstr("does not answer"));
  EXPECT_THAT(gone.port_type.why_unknown(), HasSubstr("does not answer"));
}

TEST(LspciText, TakesSpacesForTabsAndCarriageReturns) {
  std::string text;
  for (const char c : kModern) {
    if (c == '\t')
      text += "    ";
    else if (c == '\n')
      text += "\r\n";
    else
      text += c;
  }
  const auto parts =
      load_lspci_text("$ sudo lspci -Dnnvvv\npcilib: sysfs_read_vpd: read failed\n" + text, "pasted", names());
  ASSERT_TRUE(parts) << parts.error().message();
  EXPECT_EQ((*parts->functions[0].acs)->control, 0x15);
  EXPECT_EQ(parts->functions[1].bars.size(), 4u);
}

std::string error_of(std::string_view text) {
  const auto parts = load_lspci_text(text, "bad.txt", names());
  return parts ? std::string() : parts.error().message();
}

TEST(LspciText, RefusesWhatIsNoDump) {
  EXPECT_THAT(error_of(""), HasSubstr("bad.txt, line 1: it names no PCI function"));
  EXPECT_THAT(error_of("hello\n"), HasSubstr("bad.txt, line 1: lspci prints no line that begins 'hello'"));
  EXPECT_THAT(error_of("\tCapabilities: [50]\n"), HasSubstr("line 1: details of a function come before any function"));
  EXPECT_THAT(error_of("00:00.0 Host bridge: Intel Corporation Twin\n00:01.0 PCI bridge: Intel Corporation Twin\n"),
              HasSubstr("line 1: its functions have no details"));
  EXPECT_THAT(error_of("00:00.0 \"Host bridge\" \"Intel\"\n"), HasSubstr("line 1: 0000:00:00.0 has no class and name"));
  EXPECT_THAT(error_of(std::string(kModern) + std::string(kModern)),
              HasSubstr("line 44: 0000:00:01.0 is there twice, the first time on line 1"));
  EXPECT_THAT(error_of(std::string(kModern) + "\xff\xfe\n"), HasSubstr("line 44: lspci prints no line that begins '?"));
  EXPECT_THAT(error_of(std::string_view("00:00.0 Host\0bridge: x\n", 23)),
              HasSubstr("line 1: this is no text of lspci"));
  EXPECT_THAT(error_of("00:00.0 " + std::string(kMaxLspciLineBytes, 'x')),
              HasSubstr("line 1: this is no text of lspci"));
  EXPECT_THAT(error_of("00:01.0 PCI bridge: Intel Corporation Twin\n\tControl: I/O+\n\n"),
              HasSubstr("line 1: the bridge 0000:00:01.0 does not say which buses are behind it"));
  EXPECT_THAT(error_of("00:01.0 PCI bridge: Intel Corporation Twin\n\tBus: primary=00, sec\n\n"),
              HasSubstr("line 2: the bridge's bus numbers are missing"));
  EXPECT_THAT(error_of("00:01.0 Host bridge: x\n\tRegion 7: Memory at 0 (32-bit)\n\n"),
              HasSubstr("line 2: the region has no"));
  EXPECT_THAT(
      error_of("00:01.0 Host bridge: x\n\tRegion 0: Memory at 0 (32-bit)\n\tRegion 0: Memory at 0 (32-bit)\n\n"),
      HasSubstr("line 3: region 0 is there twice"));
}

TEST(LspciText, SeesThatTextWasCut) {
  // Wherever the text ends, but behind a whole function or its last line, that is seen.
  std::set<std::size_t> taken;
  for (std::size_t end = 0; end <= kModern.size(); ++end)
    if (error_of(kModern.substr(0, end)).empty()) taken.insert(end);
  for (const std::size_t end : taken) {
    const std::string_view text = kModern.substr(0, end);
    const std::size_t line = text.substr(0, text.find_last_not_of('\n') + 1).rfind('\n') + 1;
    const bool whole = text.ends_with("\n\n") || text.substr(line).starts_with("\tKernel driver in use: ");
    EXPECT_TRUE(whole) << end << ": ..." << text.substr(line);
  }
  EXPECT_TRUE(taken.contains(kModern.size()));
  EXPECT_THAT(error_of(kModern.substr(0, kModern.size() - 10)),
              HasSubstr("line 42: the text ends in the middle of 0000:05:10.0"));
}

TEST(LspciText, TakesWhatStandsAroundIt) {
  const std::string dump = "00:00.0 0600: 8086:0001\n\tStatus: Cap-\n\n";
  for (const std::string& text :
       {"\xef\xbb\xbf" + dump, "root@host:~# lspci -nvvv\n" + dump,
        "[me@host ~]$ sudo lspci -nvvv\npcilib: Cannot open /sys\n" + dump + "[me@host ~]$ \n",
        "```\n" + dump + "```\n"}) {
    const auto parts = load_lspci_text(text, "pasted", names());
    ASSERT_TRUE(parts) << parts.error().message();
    EXPECT_EQ(parts->functions.size(), 1u);
  }
  EXPECT_FALSE(load_lspci_text("me@host $5\n" + dump, "letter", names()));
}

// pciutils 3.0.0 prints "Access Controls <?>", earlier ones a number; neither prints the registers.
TEST(LspciText, AcsWithoutRegistersIsUnknownUnderItsOldNamesToo) {
  for (const char* name : {"Access Controls <?>", "#0d", "Unknown (13)"}) {
    const auto parts = load_lspci_text(
        "02:00.0 0604: 10b5:8747\n\tStatus: Cap+\n\tBus: primary=02, secondary=03, subordinate=03, sec-latency=0\n"
        "\tCapabilities: [68] Express Downstream Port (Slot+) IRQ 0\n\tCapabilities: [148] " +
            std::string(name) + "\n\tKernel driver in use: pcieport\n",
        "old", names());
    ASSERT_TRUE(parts) << parts.error().message();
    EXPECT_FALSE(parts->functions[0].acs) << name;
  }
}

TEST(LspciText, RefusesBarsInOnePlaceUnlessOneIsOff) {
  const auto message = [](const std::string& end) {
    const auto parts = load_lspci_text(
        "01:00.0 0108: 144d:a808\n\tStatus: Cap-\n\tRegion 0: Memory at df100000 (64-bit, non-prefetchable) "
        "[size=16K]\n\n"
        "02:00.0 0108: 144d:a808\n\tStatus: Cap-\n\tRegion 2: Memory at df103000 (32-bit, non-prefetchable) " +
            end + "\n\n",
        "overlap", names());
    return parts ? "loaded" : parts.error().message();
  };
  EXPECT_THAT(message("[size=4K]"),
              HasSubstr("function 0000:02:00.0: BAR 2 of 0000:02:00.0 at 0xdf103000 overlaps BAR 0 of 0000:01:00.0"));
  EXPECT_EQ(message("[disabled] [size=4K]"), "loaded");
}

TEST(LspciText, BytesCountForMoreThanTheWordsOfLessThanTwoVs) {
  const std::string bytes = "00: 86 80 00 2f\n40: 00\n\n";
  EXPECT_EQ(kind_of_lspci("00:00.0 Host bridge: x\n" + bytes), LspciKind::hex);
  EXPECT_EQ(kind_of_lspci("00:00.0 Host bridge: x\n\tKernel driver in use: y\n" + bytes), LspciKind::hex);
  EXPECT_EQ(kind_of_lspci("00:00.0 Host bridge: x\n\tFlags: fast devsel\n" + bytes), LspciKind::hex);
  EXPECT_EQ(kind_of_lspci("00:00.0 Host bridge: x\n\tStatus: Cap-\n" + bytes), LspciKind::text);
  EXPECT_EQ(kind_of_lspci("00:00.0 Host bridge: x\n\tFlags: fast devsel\n00: 86 80\n\n"), LspciKind::text);
}

TEST(LspciText, AnswersHugeClaimsQuickly) {
  // Every function claims to have 65535 virtual ones.
  std::string text;
  for (int bus = 0; bus < 256; ++bus)
    for (int device = 0; device < 32; ++device) {
      char header[160];
      std::snprintf(header, sizeof header,
                    "%02x:%02x.0 0200: 8086:0001\n\tCapabilities: [160 v1] Single Root I/O "
                    "Virtualization\n\t\tIOVCtl:\tEnable+\n",
                    static_cast<unsigned>(bus), static_cast<unsigned>(device));
      text += header;
      text += "\t\tNumber of VFs: 65535,\n\t\tVF offset: 1, stride: 1,\n\n";
    }
  EXPECT_TRUE(load_lspci_text(text, "huge", names()));
}

// Captured machines, where they are at hand.
std::string captured(const std::string& name) {
  const char* folder = std::getenv("BARTER_SHARED");
  const std::filesystem::path root =
      folder != nullptr ? std::filesystem::path(folder) : std::filesystem::path(BARTER_SOURCE_DIR) / ".." / "shared";
  std::ifstream file(root / "data" / "machines" / name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}
#define CAPTURED_OR_SKIP(variable, name)       \
  const std::string variable = captured(name); \
  if (variable.empty()) GTEST_SKIP() << "skipped: there is no " << name << " here"

TEST(LspciTextOfCapturedMachines, ReadsEveryFunction) {
  // Counted with: grep -cE '^[0-9a-f]{2}:'
  const std::pair<std::string, std::size_t> machines[] = {
      {"dell-t620-snb/lspci.txt", 66}, {"dell-t630/lspci.txt", 86}, {"dell-t630-iommu/lspci.txt", 86}};
  for (const auto& [name, functions] : machines) {
    CAPTURED_OR_SKIP(text, name);
    const auto parts = load_lspci_text(text, name);
    ASSERT_TRUE(parts) << parts.error().message();
    EXPECT_EQ(parts->functions.size(), functions) << name;
  }
}

std::vector<std::string> redirecting(const TopologyParts& parts) {
  constexpr std::uint16_t kRedirection = 0x04 | 0x08 | 0x20;
  std::vector<std::string> found;
  for (const FunctionInfo& function : parts.functions)
    if (function.acs && *function.acs && ((*function.acs)->control & kRedirection) != 0)
      found.push_back(function.bdf.to_string());
  return found;
}

TEST(LspciTextOfCapturedMachines, AnIommuTurnsRedirectionOnAtThreePorts) {
  CAPTURED_OR_SKIP(off, "dell-t630/lspci.txt");
  CAPTURED_OR_SKIP(on, "dell-t630-iommu/lspci.txt");
  auto without = load_lspci_text(off, "off");
  auto with = load_lspci_text(on, "on");
  ASSERT_TRUE(without && with);
  EXPECT_THAT(redirecting(*without), ElementsAre());
  EXPECT_THAT(redirecting(*with), ElementsAre("0000:00:01.0", "0000:00:02.0", "0000:00:03.0"));
  // Everything else that the loader reads is the same.
  ASSERT_EQ(without->functions.size(), with->functions.size());
  for (std::size_t i = 0; i < with->functions.size(); ++i) {
    const FunctionInfo& a = without->functions[i];
    const FunctionInfo& b = with->functions[i];
    EXPECT_EQ(a.bdf, b.bdf);
    EXPECT_EQ(a.port_type, b.port_type);
    EXPECT_EQ(a.link_now, b.link_now);
    EXPECT_EQ(a.max_payload_bytes, b.max_payload_bytes);
    EXPECT_EQ(a.bars.size(), b.bars.size());
    EXPECT_EQ(a.acs.has_value(), b.acs.has_value());
  }
}

TEST(LspciTextOfCapturedMachines, NamesOfAnOlderListComeOutUnknown) {
  CAPTURED_OR_SKIP(text, "dell-t630/lspci.txt");
  const auto parts = load_lspci_text(text, "t630", names());
  ASSERT_TRUE(parts);
  const FunctionInfo* bridge = find(*parts, "0000:00:00.0");
  ASSERT_NE(bridge, nullptr);
  EXPECT_EQ(bridge->vendor_id, Known<std::uint16_t>(0x8086));
  EXPECT_THAT(bridge->device_id.why_unknown(), HasSubstr("no device called 'Haswell-E DMI2'"));
  const FunctionInfo* port = find(*parts, "0000:00:01.0");
  ASSERT_NE(port, nullptr);
  EXPECT_EQ(port->device_id, Known<std::uint16_t>(0x2f02));
}

}  // namespace
}  // namespace barter::topology
