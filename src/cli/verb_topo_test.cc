// What barter topo and barter why print, on the built-in machines and on a dump.
#include <malloc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "barter/machine.hpp"
#include "cli/json_topology.h"
#include "cli/render_topology.h"
#include "cli/render_verdict.h"
#include "cli/selection.h"

namespace barter::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Topology topology_of(const std::string& machine) {
  auto opened = Machine::open(machine);
  EXPECT_TRUE(opened) << opened.error().message();
  return opened->topology();
}

std::string topology_text(const std::string& machine, const Topology& topology, const Style& style) {
  std::string text;
  write_topology(machine, topology, style, [&text](std::string_view piece) { text += piece; });
  return text;
}

std::string topology_json(const std::string& machine, const Topology& topology) {
  std::string text;
  write_topology_json(machine, topology, [&text](std::string_view piece) { text += piece; });
  return text;
}

std::string golden(const std::string& name) {
  std::ifstream file(std::string(BARTER_SOURCE_DIR "/tests/golden/") + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(TopoText, OfTwoNvmeIsAsItWas) {
  EXPECT_EQ(topology_text("two-nvme", topology_of("two-nvme"), Style{}), golden("two-nvme.topo.txt"));
}

TEST(WhyText, OfAcsIsAsItWas) {
  const Topology topology = topology_of("acs");
  const auto client = topology.resolve("nvme1");
  const auto provider = topology.resolve("nvme0");
  ASSERT_TRUE(client && provider);
  const Verdict verdict = topology.verdict({.client = *client, .provider = *provider});
  EXPECT_EQ(verdict_text(topology, verdict, Style{}), golden("acs.why.txt"));
}

TEST(TopoText, HasColoursOnlyWhereAsked) {
  const Topology topology = topology_of("two-nvme");
  EXPECT_THAT(topology_text("two-nvme", topology, Style{}), Not(HasSubstr("\x1b")));
  EXPECT_THAT(topology_text("two-nvme", topology, Style{.colours = true}), HasSubstr("\x1b[32mB BB\x1b[0m"));
}

TEST(TopoText, SaysWhyFactsAreUnknown) {
  const Topology topology = topology_of(std::string("lspci:") + BARTER_SOURCE_DIR + "/tests/golden/no-root.lspci.txt");
  const std::string text = topology_text("no-root", topology, Style{});
  EXPECT_THAT(text, HasSubstr("lspci ran without root: run it as root"));
  EXPECT_THAT(text, HasSubstr("? ??"));
}

TEST(WhyJson, HasTheShapeThatIsPromised) {
  const Topology topology = topology_of("acs");
  const Verdict verdict =
      topology.verdict({.client = *topology.resolve("nvme1"), .provider = *topology.resolve("nvme0")});
  const auto json = nlohmann::json::parse(verdict_json(verdict, {}));
  EXPECT_EQ(json.at("client"), topology.find("nvme1")->bdf.to_string());
  EXPECT_EQ(json.at("provider"), topology.find("nvme0")->bdf.to_string());
  EXPECT_EQ(json.at("linux").at("route"), "not_supported");
  EXPECT_EQ(json.at("linux").at("distance"), 4);
  ASSERT_FALSE(json.at("linux").at("facts").empty());
  for (const auto& fact : json.at("linux").at("facts"))
    for (const char* key : {"function", "register", "value", "says"}) EXPECT_TRUE(fact.at(key).is_string()) << key;
  EXPECT_FALSE(json.at("linux").at("remedies").empty());
  EXPECT_EQ(json.at("wire").at("read").at("route"), "not_supported");
  EXPECT_EQ(json.at("wire").at("write").at("route"), "not_supported");
  EXPECT_EQ(json.at("path").size(), 5u);
  EXPECT_EQ(json.at("path").front(), json.at("client"));
}

// docs/json.md has the list, which programs rely on.
TEST(WhyJson, NamesWhoseFactItIsInOneOfTheFormsThatAreDocumented) {
  const std::string no_root = std::string("lspci:") + BARTER_SOURCE_DIR + "/tests/golden/no-root.lspci.txt";
  const auto address = "[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]";
  const std::regex form(std::string(address) + "|host bridge [0-9a-f]{4,8}:[0-9a-f]{2}|cpu|iommu|path|machine");
  std::vector<std::string> machines = Machine::builtin_names();
  machines.push_back(no_root);
  for (const std::string& machine : machines) {
    const Topology topology = topology_of(machine);
    for (const FunctionInfo* client : endpoints(topology))
      for (const FunctionInfo* provider : endpoints(topology)) {
        const Verdict verdict = topology.verdict({.client = client->bdf, .provider = provider->bdf});
        for (const auto* facts : {&verdict.by_linux.facts, &verdict.by_wire.read.facts, &verdict.by_wire.write.facts})
          for (const Fact& fact : *facts)
            EXPECT_TRUE(std::regex_match(fact.function, form)) << machine << ": " << fact.function;
      }
  }
}

TEST(TopoJson, TellsUnknownFactsFromAbsentOnes) {
  const Topology topology = topology_of(std::string("lspci:") + BARTER_SOURCE_DIR + "/tests/golden/no-root.lspci.txt");
  const auto json = nlohmann::json::parse(topology_json("no-root", topology));
  const auto& drive = json.at("functions").back();
  EXPECT_TRUE(drive.at("acs").is_null());
  EXPECT_EQ(drive.at("unknown").at("acs"), "lspci ran without root: run it as root");
  EXPECT_EQ(drive.at("bars").at(0).at("size_bytes"), 16384);
  EXPECT_FALSE(json.at("verdicts").empty());
}

TEST(TopoJson, OfTwoNvmeIsAsItWas) {
  EXPECT_EQ(topology_json("two-nvme", topology_of("two-nvme")), golden("two-nvme.topo.json"));
}

// It is put together of pieces; a JSON library that reads it writes the same.
TEST(TopoJson, IsWrittenAsALibraryWouldWriteIt) {
  const std::string no_root = std::string("lspci:") + BARTER_SOURCE_DIR + "/tests/golden/no-root.lspci.txt";
  for (const std::string& machine : {std::string("ai-server"), std::string("linked"), no_root}) {
    const std::string text = topology_json("\"verdicts\": [\n  \"verdicts\": [", topology_of(machine));
    EXPECT_EQ(text, nlohmann::ordered_json::parse(text).dump(2) + "\n") << machine;
  }
  const std::string nothing = topology_json("nothing", *Topology::build({}));
  EXPECT_EQ(nothing, nlohmann::ordered_json::parse(nothing).dump(2) + "\n");
}

// So many endpoints, on two root complexes.
TopologyParts endpoints_on_root_buses(std::size_t count) {
  TopologyParts parts;
  for (std::size_t i = 0; i < count; ++i) {
    FunctionInfo function{.bdf = {.domain = static_cast<std::uint32_t>(i / 256),
                                  .bus = 0,
                                  .device = static_cast<std::uint8_t>(i / 8 % 32),
                                  .function = static_cast<std::uint8_t>(i % 8)}};
    function.port_type = PortType::root_complex_endpoint;
    function.bars = {{.index = 0, .kind = BarInfo::Kind::memory, .size_bytes = std::uint64_t{4096}}};
    function.bars_read = true;
    parts.functions.push_back(std::move(function));
  }
  for (std::uint32_t domain = 0; domain * 256 < count; ++domain)
    parts.host_bridges.push_back({.domain = domain, .root_bus = 0});
  return parts;
}

std::size_t bytes_in_use() {
  const auto heap = mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

// What it tells of a pair takes about two hundred bytes.
TEST(TopoJson, IsNotHeldInMemory) {
  if (bytes_in_use() == 0) GTEST_SKIP() << "skipped: this allocator does not tell what is in use";
  const Topology topology = std::move(*Topology::build(endpoints_on_root_buses(512)));
  const std::size_t before = bytes_in_use();
  std::size_t most = before;
  std::size_t written = 0;
  write_topology_json("many", topology, [&](std::string_view piece) {
    written += piece.size();
    most = std::max(most, bytes_in_use());
  });
  EXPECT_GT(written, std::size_t{512} * 511 * 150);
  EXPECT_LT(most - before, std::size_t{12} << 20) << "of which the library's matrix is 3 bytes for each pair";
}

TEST(Selection, LeavesBridgesOut) {
  const Topology topology = topology_of("two-nvme");
  const auto found = endpoints(topology);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0]->name, "nvme0");
  EXPECT_TRUE(may_be_provider(*found[1]));
}

TEST(Render, KeepsControlCharactersFromTheTerminal) {
  EXPECT_EQ(printable("a\x1b[31mb\n"), "a?[31mb?");
  EXPECT_EQ(width_of("└─ a"), 4u);
}

// Two accelerators that PCIe keeps apart, and a link that joins them.
class LinkedMachine : public ::testing::Test {
 protected:
  LinkedMachine() : machine_(std::move(*Machine::open("linked"))) {}
  [[nodiscard]] Verdict verdict() const {
    return machine_.topology().verdict(
        {.client = *machine_.topology().resolve("gpu0"), .provider = *machine_.topology().resolve("gpu1")});
  }
  [[nodiscard]] Beside beside(const Verdict& verdict) const {
    const VerdictQuery query{.client = verdict.client, .provider = verdict.provider};
    return {.interconnects = machine_.interconnects(query), .best = machine_.best_route(query)};
  }
  Machine machine_;
};

TEST_F(LinkedMachine, WhyTextIsAsItWas) {
  const Verdict verdict = this->verdict();
  EXPECT_EQ(verdict_text(machine_.topology(), verdict, Style{}) + beside_text(beside(verdict), Style{}),
            golden("linked.why.txt"));
}

TEST_F(LinkedMachine, TopoShowsTheLink) {
  EXPECT_THAT(topology_text("linked", machine_.topology(), Style{}),
              HasSubstr("beside PCIe: a link from gpu0 port 0 to gpu1 port 0, 300000 MB/s\n"));
  const auto json = nlohmann::json::parse(topology_json("linked", machine_.topology()));
  ASSERT_EQ(json["device_links"].size(), 1u);
  EXPECT_EQ(json["device_links"][0]["megabytes_per_second"], 300'000);
  EXPECT_EQ(json["device_links"][0]["first"]["port"], 0);
}

TEST_F(LinkedMachine, JsonHasTheInterconnectsAndTheBest) {
  const Verdict verdict = this->verdict();
  auto json = nlohmann::json::parse(verdict_json(verdict, beside(verdict)));
  EXPECT_EQ(json["linux"]["route"], "not_supported");
  EXPECT_EQ(json["wire"]["read"]["route"], "not_supported") << "the link is no business of PCIe's rules";
  ASSERT_EQ(json["interconnects"].size(), 1u);
  EXPECT_EQ(json["interconnects"][0]["name"], "link");
  EXPECT_EQ(json["interconnects"][0]["route"], "link");
  EXPECT_GE(json["interconnects"][0]["facts"].size(), 3u);
  EXPECT_EQ(json["best"]["by"], "link");
  EXPECT_EQ(json["best"]["route"], "link");
  EXPECT_THAT(json["best"]["why"], HasSubstr("is up"));
  const Verdict other = machine_.topology().verdict(
      {.client = *machine_.topology().resolve("nvme1"), .provider = *machine_.topology().resolve("gpu0")});
  json = nlohmann::json::parse(verdict_json(other, beside(other)));
  EXPECT_EQ(json["interconnects"][0]["route"], "not_supported");
  EXPECT_EQ(json["interconnects"][0]["facts"].size(), 0u);
  EXPECT_TRUE(json["best"]["by"].is_null());
  EXPECT_EQ(beside_text(beside(other), Style{}), "") << "nothing but PCIe joins these two";
}

}  // namespace
}  // namespace barter::cli
