// Copies on the host machine through the public door, between drives that VFIO gives us.
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/copy.hpp"
#include "barter/machine.hpp"
#include "forked_child.h"
#include "vfio_machine.h"

namespace barter {
namespace {

constexpr std::uint64_t kBytes = std::uint64_t{8} << 20;

// The owner takes the memory back in mid-copy: what is left goes by way of host memory, and the copy is right.
TEST(CopyOnVfio, MemoryTakenBackInMidCopyIsGoneRoundByHostMemory) {
  auto machine = Machine::open("host");
  ASSERT_TRUE(machine) << machine.error().message();
  auto source = machine->drive(guest::vfio_functions()[0].to_string());
  auto destination = machine->drive(guest::vfio_functions()[1].to_string());
  ASSERT_TRUE(source) << source.error().message();
  ASSERT_TRUE(destination) << destination.error().message();
  auto memory = source->memory();
  ASSERT_TRUE(memory) << memory.error().message();
  const std::uint64_t faults = guest::kernel_faults();
  bool taken = false;
  const auto report = copy(Extent(*source, 0, kBytes), Extent(*destination, 0, kBytes),
                           {.policy = P2p::preferred,
                            .via = source->bdf().to_string(),
                            .chunk_bytes = 256 << 10,
                            .verify = true,
                            .progress = [&](CopyProgress progress) {
                              if (taken || progress.done_bytes < kBytes / 2) return;
                              taken = true;
                              auto back = memory->take_back({.deadline = std::chrono::seconds(5)});
                              EXPECT_TRUE(back) << back.error().message();
                              EXPECT_TRUE(back->late.empty());
                            }});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(taken);
  EXPECT_EQ(report->verified, true);
  EXPECT_EQ(report->route, CopyRoute::peer);
  ASSERT_EQ(report->fallbacks.size(), 1u);
  EXPECT_EQ(report->fallbacks[0].code, "revoked");
  EXPECT_GT(report->fallbacks[0].bytes, 0u);
  EXPECT_LT(report->fallbacks[0].bytes, kBytes);
  EXPECT_EQ(guest::kernel_faults(), faults);  // nothing was sent where it had no right to any more
}

// It would keep a window to what its parent takes back.
TEST(CopyOnVfio, AChildOfForkHasNoWindowToTheMemory) {
  auto machine = Machine::open("host");
  ASSERT_TRUE(machine) << machine.error().message();
  auto source = machine->drive(guest::vfio_functions()[0].to_string());
  ASSERT_TRUE(source) << source.error().message();
  auto region = source->memory()->allocate(4096);
  ASSERT_TRUE(region) << region.error().message();
  ASSERT_FALSE(region->cpu_bytes().empty());
  EXPECT_FALSE(contract::is_mapped_in_child(region->cpu_bytes()));
}

}  // namespace
}  // namespace barter
