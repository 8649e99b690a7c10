// The same copy on machines that differ in nothing but who translates and what the switch lets pass: two drives below one
// switch that redirects, behind an IOMMU that translates.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "barter/barter.hpp"

namespace barter {
namespace {

using namespace barter::literals;
namespace fs = std::filesystem;

struct Variant {
  bool ats = true;
  bool direct_translated = true;
  bool root_complex_turns = false;
};

std::string text_of(const Variant& variant) {
  return fmt::format(R"(
name = "variant"
iommu = "translate"
[[root_complex]]
name = "rc0"
turns_reads = {0}
turns_writes = {0}
[[root_port]]
name = "rp0"
below = "rc0"
[[switch]]
name = "sw0"
below = "rp0"
ports = 2
acs = ["SV", "RR", "UF"{1}]
[[drive]]
name = "nvme0"
below = "sw0.0"
size = "16 MiB"
cmb = "4 MiB"
ats = {2}
[[drive]]
name = "nvme1"
below = "sw0.1"
size = "16 MiB"
ats = {2}
)",
                     variant.root_complex_turns, variant.direct_translated ? ", \"DT\"" : "", variant.ats);
}

class AtsMachine : public ::testing::Test {
 protected:
  AtsMachine()
      : file_(fs::temp_directory_path() /
              fmt::format("barter-ats-{}-{}.toml", ::getpid(),
                          ::testing::UnitTest::GetInstance()->current_test_info()->name())) {}
  ~AtsMachine() override { fs::remove(file_); }

  Result<CopyReport> copy(const Variant& variant) {
    std::ofstream(file_) << text_of(variant);
    auto machine = Machine::open(file_.string());
    if (!machine) return std::unexpected(machine.error());
    return barter::copy(machine->drive("nvme0"), machine->drive("nvme1"),
                        {.policy = P2p::required, .chunk_bytes = 256_KiB, .verify = true});
  }

  fs::path file_;
};

TEST_F(AtsMachine, OnlyTranslatedRequestsThatMayPassDirectlyPass) {
  const auto direct = copy({});
  ASSERT_TRUE(direct) << direct.error().message();
  EXPECT_EQ(direct->route, CopyRoute::peer);
  EXPECT_EQ(direct->host_memory_bytes, 0u);
  EXPECT_EQ(direct->verified, true);
  // The root complex turns nothing around, so without either of the two there is no way.
  for (const Variant& without : {Variant{.ats = false}, Variant{.direct_translated = false}}) {
    const auto none = copy(without);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, ErrorCode::no_route);
  }
}

TEST_F(AtsMachine, ARootComplexThatTurnsServesTheOthers) {
  for (const Variant& redirected : {Variant{.ats = false, .root_complex_turns = true},
                                    Variant{.direct_translated = false, .root_complex_turns = true}}) {
    const auto report = copy(redirected);
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->host_memory_bytes, 0u);
    EXPECT_EQ(report->verified, true);
  }
}

}  // namespace
}  // namespace barter
