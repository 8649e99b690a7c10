// Accelerators as a program of a user sees them: their memory is a provider, and drives reach it.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/barter.hpp"
#include "machine/state.h"

namespace {

using namespace barter::literals;

std::vector<std::byte> pattern(std::size_t bytes) {
  std::vector<std::byte> all(bytes);
  for (std::size_t at = 0; at < bytes; ++at) all[at] = static_cast<std::byte>(at * 7 + at / 251);
  return all;
}

TEST(AcceleratorProvider, ADriveReadsStraightIntoItsMemoryUntilItIsTakenBack) {
  auto machine = barter::Machine::open("ai-server");
  ASSERT_TRUE(machine) << machine.error().message();
  EXPECT_EQ(machine->accelerator_names().size(), 8u);
  EXPECT_EQ(machine->drive_names().size(), 8u);
  EXPECT_FALSE(machine->drive("gpu0"));
  auto gpu = machine->provider("gpu0");
  ASSERT_TRUE(gpu) << gpu.error().message();
  EXPECT_EQ(gpu->size_bytes(), 64_GiB - 64_KiB);
  auto region = gpu->allocate(2_MiB);
  ASSERT_TRUE(region) << region.error().message();
  const barter::Drive drive = *machine->drive("nvme0");
  ASSERT_TRUE(barter::write(drive, {}, pattern(2_MiB)));
  auto mapping = drive.map(*region, {.access = barter::Access::write});
  ASSERT_TRUE(mapping) << mapping.error().message();
  {
    auto lease = mapping->lease();
    ASSERT_TRUE(lease);
    ASSERT_TRUE(barter::read(drive, {.bytes = 2_MiB}, *lease));
  }
  EXPECT_TRUE(std::ranges::equal(region->cpu_bytes(), pattern(2_MiB)));
  gpu->on_request([](const barter::Request&) { return barter::Answer::refuse("not today"); });
  EXPECT_FALSE(drive.map(*region, {.access = barter::Access::read}));
  ASSERT_TRUE(gpu->take_back());
  EXPECT_FALSE(mapping->lease());
}

TEST(AcceleratorProvider, AWindowTooSmallForTheExportSaysSo) {
  const auto file =
      std::filesystem::temp_directory_path() / ("barter-accelerator-window-" + std::to_string(getpid()) + ".toml");
  std::ofstream(file) << "name = \"small-window\"\n[[root_complex]]\nname = \"rc0\"\n[[root_port]]\nname = \"rp0\"\n"
                         "below = \"rc0\"\n[[accelerator]]\nname = \"gpu0\"\nbelow = \"rp0\"\nmemory = \"16 GiB\"\n"
                         "window = \"256 MiB\"\n";
  auto machine = barter::Machine::open(file.string());
  std::filesystem::remove(file);
  ASSERT_TRUE(machine) << machine.error().message();
  auto gpu = machine->provider("gpu0");
  ASSERT_TRUE(gpu);
  EXPECT_EQ(gpu->size_bytes(), 256_MiB - 64_KiB);
  EXPECT_TRUE(gpu->allocate(255_MiB));
  const auto too_much = gpu->allocate(1_GiB);
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, barter::ErrorCode::exhausted);
  EXPECT_THAT(too_much.error().message(), testing::HasSubstr("the window of gpu0 shows others 268435456 of its"));
}

// The copy engine as an endpoint: a drive's bytes by way of host memory, and back.
TEST(AcceleratorProvider, ItsCopyEngineIsAnEndpoint) {
  auto machine = barter::Machine::open("ai-server");
  ASSERT_TRUE(machine);
  auto unit = machine->state()->find_accelerator("gpu1");
  ASSERT_TRUE(unit) << unit.error().message();
  EXPECT_FALSE(machine->state()->find_accelerator("nvme0"));
  auto endpoint = (*unit)->driver->open_endpoint(4);
  ASSERT_TRUE(endpoint) << endpoint.error().message();
  auto buffer = (*endpoint)->allocate(1_MiB);
  ASSERT_TRUE(buffer);
  std::ranges::copy(pattern(1_MiB), buffer->bytes().begin());
  const barter::DmaSegment memory = buffer->segment();
  const auto move = [&](barter::machine::Direction direction, std::uint64_t offset) {
    ASSERT_TRUE((*endpoint)->submit(
        {.direction = direction, .offset = offset, .bytes = 1_MiB, .memory = {&memory, 1}, .tag = 9}));
    (*endpoint)->ring();
    std::vector<barter::machine::PieceResult> results(4);
    auto& clock = machine->state()->backend().clock();
    ASSERT_TRUE(barter::base::wait_until(clock, clock.now() + 10s,
                                         [&] { return (*endpoint)->poll(results).value_or(4) != 0; }));
    EXPECT_EQ(results[0].tag, 9u);
    EXPECT_TRUE(results[0].ok());
  };
  move(barter::machine::Direction::to_endpoint, 5_GiB);
  std::ranges::fill(buffer->bytes(), std::byte{0});
  move(barter::machine::Direction::from_endpoint, 5_GiB);
  EXPECT_TRUE(std::ranges::equal(buffer->bytes(), pattern(1_MiB)));
  const auto outside = (*endpoint)->submit({.offset = 64_GiB, .bytes = 1_MiB, .memory = {&memory, 1}});
  ASSERT_FALSE(outside);
  EXPECT_EQ(outside.error().code, barter::ErrorCode::out_of_range);
  EXPECT_FALSE((*endpoint)->submit({.bytes = 1_MiB, .memory = {}}));
  EXPECT_FALSE((*endpoint)->submit({.bytes = 512_KiB, .memory = {&memory, 1}}));
}

// From one accelerator's memory to the other's, by an engine that has none.
TEST(AcceleratorProvider, ADmaEngineMovesBetweenTwoAccelerators) {
  auto machine = barter::Machine::open("training");
  ASSERT_TRUE(machine) << machine.error().message();
  EXPECT_EQ(machine->dma_engine_names(), std::vector<std::string>{"dma0"});
  EXPECT_FALSE(machine->dma_engine("gpu0"));
  EXPECT_FALSE(machine->provider("dma0"));
  EXPECT_FALSE(machine->drive("dma0"));
  const auto engine = machine->dma_engine("dma0");
  ASSERT_TRUE(engine) << engine.error().message();
  auto from = machine->provider("gpu0")->allocate(40_MiB);
  auto to = machine->provider("gpu1")->allocate(40_MiB);
  ASSERT_TRUE(from && to);
  const auto bytes = pattern(40_MiB);
  std::ranges::copy(bytes, from->cpu_bytes().begin());
  auto source = engine->map(*from, {.access = barter::Access::read});
  auto target = engine->map(*to, {.access = barter::Access::write});
  ASSERT_TRUE(source && target);
  EXPECT_EQ(source->route(), barter::Route::bus_address);
  const auto read = source->lease();
  const auto written = target->lease();
  const auto before = machine->state()->backend().traffic();
  const auto moved = barter::move_bytes(*engine, *read, *written, {.bytes = 39_MiB, .from_offset = 3, .to_offset = 5});
  EXPECT_TRUE(moved) << moved.error().message();
  EXPECT_EQ(machine->state()->backend().traffic()->data_bytes, before->data_bytes) << "not by way of host memory";
  EXPECT_TRUE(std::ranges::equal(to->cpu_bytes().subspan(5, 39_MiB), std::span(bytes).subspan(3, 39_MiB)));
  EXPECT_EQ(to->cpu_bytes()[4], std::byte{0});
  EXPECT_FALSE(barter::move_bytes(*engine, *written, *read)) << "mapped the other way round";
  EXPECT_FALSE(barter::move_bytes(*engine, *read, *written, {.bytes = 40_MiB, .to_offset = 1}));
  EXPECT_FALSE(barter::move_bytes(*engine, *read, barter::Lease{}));
}

}  // namespace
