// What barter topo and barter why print, on the built-in machines and on a dump.
#include <fstream>
#include <iterator>
#include <string>

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

TEST(TopoJson, TellsUnknownFactsFromAbsentOnes) {
  const Topology topology = topology_of(std::string("lspci:") + BARTER_SOURCE_DIR + "/tests/golden/no-root.lspci.txt");
  const auto json = nlohmann::json::parse(topology_json("no-root", topology));
  const auto& drive = json.at("functions").back();
  EXPECT_TRUE(drive.at("acs").is_null());
  EXPECT_EQ(drive.at("unknown").at("acs"), "lspci ran without root: run it as root");
  EXPECT_EQ(drive.at("bars").at(0).at("size_bytes"), 16384);
  EXPECT_FALSE(json.at("verdicts").empty());
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
