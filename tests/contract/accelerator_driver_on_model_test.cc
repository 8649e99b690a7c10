// The accelerator's driver on the accelerator's model: two transcriptions of one specification meet.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "accelerator_machine.h"
#include "drivers/accelerator/address_space.h"
#include "drivers/accelerator/memory_exporter.h"
#include "drivers/function_importer.h"
#include "exporter_contract.h"
#include "importer_contract.h"

namespace barter::contract {
namespace {

using namespace barter::literals;
using gpu::Kind;
using gpu::Operand;
using testing::IsEmpty;

struct Way {
  const char* name;
  fabric::Running running;
  IommuMode iommu;
};

class AcceleratorOnModel : public testing::TestWithParam<Way> {
 protected:
  AcceleratorOnModel()
      : machine_(description(), {.running = GetParam().running, .host_memory_bytes = 256_MiB}, kSetup) {}
  ~AcceleratorOnModel() override { EXPECT_THAT(machine_.fabric->violations(), IsEmpty()); }

  static topology::Description description() {
    auto machine = fabric::one_switch();
    machine.iommu = GetParam().iommu;
    machine.root_complexes[0].turns_reads = machine.root_complexes[0].turns_writes = true;
    return machine;
  }
  gpu::CommandResult run(gpu::Channel& channel, const gpu::Command& command) {
    return do_command(machine_.fabric->clock(), channel, command);
  }

  static constexpr devices::accelerator::AcceleratorSetup kSetup{.memory_bytes = 32_MiB};
  AcceleratorMachine machine_;
};

std::vector<std::byte> pattern(std::size_t bytes, unsigned step = 7) {
  std::vector<std::byte> all(bytes);
  for (std::size_t at = 0; at < bytes; ++at) all[at] = static_cast<std::byte>(at * step + at / 251);
  return all;
}

TEST_P(AcceleratorOnModel, CopiesToAndFromHostMemoryAndChecksInPlace) {
  auto a = machine_.bring_up("a");
  EXPECT_EQ(a->facts().memory_bytes, 32_MiB);
  EXPECT_EQ(a->facts().copy_channels, 2u);
  EXPECT_EQ(a->usable_window().bytes, 32_MiB - 64_KiB);
  auto copies = a->create_channel(Kind::copy, {});
  auto computes = a->create_channel(Kind::compute, {});
  ASSERT_TRUE(copies && computes);
  auto buffer = a->function().allocate_dma(3_MiB, pci::DmaUse::data);
  ASSERT_TRUE(buffer);
  const auto bytes = pattern(3_MiB);
  std::ranges::copy(bytes, buffer->bytes().begin());
  const std::uint64_t before = (*copies)->progress().value();
  EXPECT_TRUE(
      run(**copies, gpu::copy({.from = Operand::bus(buffer->address()), .to = Operand::local(12345), .bytes = 3_MiB}))
          .ok());
  EXPECT_EQ((*copies)->progress(), before + 3_MiB);
  const auto sum = run(**computes, gpu::checksum({.from = Operand::local(12345), .bytes = 3_MiB}));
  EXPECT_EQ(sum.result, XXH64(bytes.data(), bytes.size(), 0));
  std::ranges::fill(buffer->bytes(), std::byte{0});
  EXPECT_TRUE(
      run(**copies, gpu::copy({.from = Operand::local(12345), .to = Operand::bus(buffer->address()), .bytes = 3_MiB}))
          .ok());
  EXPECT_TRUE(std::ranges::equal(buffer->bytes(), bytes));
  EXPECT_TRUE(std::ranges::equal(a->window_bytes({12345, 3_MiB}), bytes));
}

TEST_P(AcceleratorOnModel, ManyCommandsInFlightEachComeBackOnce) {
  auto a = machine_.bring_up("a");
  auto channel = a->create_channel(Kind::compute, {.entries = 16});
  ASSERT_TRUE(channel);
  EXPECT_EQ((*channel)->capacity(), 15u);
  std::vector<int> seen(1000);
  std::array<gpu::CommandResult, 8> results;
  std::size_t submitted = 0;
  std::size_t done = 0;
  while (done < seen.size()) {
    while (submitted < seen.size() && (*channel)->in_flight() < (*channel)->capacity())
      ASSERT_TRUE((*channel)->submit(
          {.opcode = gpu::Opcode::sum, .source = Operand::local(0), .count = 64, .tag = submitted++}));
    EXPECT_TRUE(submitted == seen.size() || !(*channel)->submit({}));
    (*channel)->ring();
    const auto count = (*channel)->poll(results);
    ASSERT_TRUE(count) << count.error().message();
    for (const auto& result : std::span(results).first(*count)) {
      EXPECT_TRUE(result.ok());
      ++seen[result.tag];
    }
    done += *count;
    if (*count == 0) machine_.fabric->clock().idle();
  }
  EXPECT_EQ(std::ranges::count(seen, 1), 1000);
}

TEST_P(AcceleratorOnModel, RefusesWhatTheDeviceWould) {
  auto a = machine_.bring_up("a");
  auto copies = a->create_channel(Kind::copy, {});
  auto computes = a->create_channel(Kind::compute, {});
  EXPECT_FALSE((*copies)->submit(gpu::checksum({.from = Operand::local(0), .bytes = 1})));
  EXPECT_FALSE((*computes)->submit(gpu::copy({.from = Operand::local(0), .to = Operand::local(9), .bytes = 1})));
  EXPECT_FALSE((*copies)->submit(gpu::copy({.from = Operand::local(32_MiB - 1), .to = Operand::local(9), .bytes = 2})));
  EXPECT_FALSE((*copies)->submit(gpu::copy({.from = Operand::local(0), .to = Operand::local(9), .bytes = 0})));
  EXPECT_FALSE((*copies)->submit(gpu::copy({.from = Operand::local(0), .to = {}, .bytes = 8})));
  EXPECT_FALSE((*computes)->submit({.opcode = gpu::Opcode::add,
                                    .source = Operand::local(2),
                                    .second = Operand::local(8),
                                    .destination = Operand::local(8),
                                    .count = 2}));
  EXPECT_FALSE(
      (*computes)->submit({.opcode = gpu::Opcode::sum, .source = Operand::local(0), .count = ~std::uint64_t{0} / 2}));
  EXPECT_FALSE((*computes)->submit({.opcode = gpu::Opcode::filter,
                                    .source = Operand::local(0),
                                    .second = Operand::local(0),
                                    .destination = Operand::local(0),
                                    .count = 16385}));
  EXPECT_FALSE(a->create_channel(Kind::copy, {}) && a->create_channel(Kind::copy, {}) &&
               a->create_channel(Kind::copy, {}));
}

TEST_P(AcceleratorOnModel, VirtualAddressesReachMemoryAndHost) {
  auto a = machine_.bring_up("a");
  auto copies = a->create_channel(Kind::copy, {});
  auto computes = a->create_channel(Kind::compute, {});
  ASSERT_TRUE(copies && computes);
  auto buffer = a->function().allocate_dma(64_KiB, pci::DmaUse::data);
  const auto bytes = pattern(64_KiB, 11);
  std::ranges::copy(bytes, buffer->bytes().begin());
  gpu::AddressSpace& space = a->address_space();
  constexpr std::uint64_t kAt = 0x7f0000000000;
  // Half here and half there: 4 MiB of its own memory by superpages, then host memory by small ones.
  ASSERT_TRUE(space.map_local({.virtual_address = kAt, .bytes = 4_MiB}, 8_MiB));
  ASSERT_TRUE(
      space.map_bus({.virtual_address = kAt + 4_MiB, .bytes = 64_KiB, .access = Access::read}, buffer->address()));
  EXPECT_FALSE(space.map_local({.virtual_address = kAt + 4_MiB + 4_KiB, .bytes = 4_KiB}, 0)) << "there is something";
  EXPECT_FALSE(space.map_local({.virtual_address = kAt - 4_KiB, .bytes = 8_KiB}, 0));
  EXPECT_FALSE(space.map_local({.virtual_address = 1, .bytes = 4_KiB}, 0));
  EXPECT_FALSE(space.map_local({.virtual_address = 0, .bytes = 64_MiB}, 0));
  EXPECT_FALSE(space.map_local({.virtual_address = std::uint64_t{1} << 48, .bytes = 4_KiB}, 0));
  EXPECT_TRUE(run(**copies, gpu::copy({.from = Operand::virtual_memory(kAt + 4_MiB),
                                       .to = Operand::virtual_memory(kAt + 4_MiB - 64_KiB),
                                       .bytes = 64_KiB}))
                  .ok());
  EXPECT_TRUE(std::ranges::equal(a->window_bytes({12_MiB - 64_KiB, 64_KiB}), bytes));
  const auto both =
      run(**computes, gpu::checksum({.from = Operand::virtual_memory(kAt + 4_MiB - 64_KiB), .bytes = 128_KiB}));
  std::vector<std::byte> twice = bytes;
  twice.insert(twice.end(), bytes.begin(), bytes.end());
  EXPECT_EQ(both.result, XXH64(twice.data(), twice.size(), 0));
  auto refused =
      run(**copies, gpu::copy({.from = Operand::local(0), .to = Operand::virtual_memory(kAt + 4_MiB), .bytes = 8}));
  EXPECT_EQ(refused.status, 4) << "mapped for reading only";
  EXPECT_EQ(refused.result, kAt + 4_MiB);

  ASSERT_TRUE(space.unmap(kAt));
  EXPECT_FALSE(space.unmap(kAt));
  EXPECT_EQ(run(**computes, gpu::checksum({.from = Operand::virtual_memory(kAt), .bytes = 1})).status, 4);
  // The same place again, by other pages: where a superpage was there is a table now.
  ASSERT_TRUE(space.map_local({.virtual_address = kAt + 4_KiB, .bytes = 8_KiB}, 12_MiB - 64_KiB));
  EXPECT_EQ(run(**computes, gpu::checksum({.from = Operand::virtual_memory(kAt + 4_KiB), .bytes = 8_KiB})).result,
            XXH64(bytes.data(), 8192, 0));
  ASSERT_TRUE(space.unmap(kAt + 4_KiB));
  ASSERT_TRUE(space.map_local({.virtual_address = kAt, .bytes = 4_MiB}, 8_MiB));
  EXPECT_TRUE(run(**computes, gpu::checksum({.from = Operand::virtual_memory(kAt), .bytes = 4_MiB})).ok());
}

TEST_P(AcceleratorOnModel, OneCopiesIntoTheOthersMemory) {
  auto a = machine_.bring_up("a");
  auto c = machine_.bring_up("c");
  auto channel = c->create_channel(Kind::copy, {});
  ASSERT_TRUE(channel);
  drivers::FunctionImporter importer(c->function(), machine_.fabric->domain(machine_.bdf("c")));
  const auto address = importer.domain().map(a->window_address(), 1_MiB, Access::read_write);
  ASSERT_TRUE(address);
  std::ranges::copy(pattern(1_MiB), c->window_bytes({0, 1_MiB}).begin());
  EXPECT_TRUE(
      run(**channel, gpu::copy({.from = Operand::local(0), .to = Operand::bus(*address), .bytes = 1_MiB})).ok());
  EXPECT_TRUE(std::ranges::equal(a->window_bytes({0, 1_MiB}), pattern(1_MiB)));
  importer.domain().unmap(*address, 1_MiB);
  if (GetParam().iommu == IommuMode::translate) {
    EXPECT_EQ(run(**channel, gpu::copy({.from = Operand::local(0), .to = Operand::bus(*address), .bytes = 8})).status,
              5);
  }
}

TEST_P(AcceleratorOnModel, KeepsTheExportersAndTheImportersContract) {
  auto a = machine_.bring_up("a");
  gpu::MemoryExporter exporter(*a);
  check_exporter(exporter);
  EXPECT_EQ(exporter.cpu_bytes({0, exporter.size_bytes() + 1}).size(), 0u);
  EXPECT_FALSE(a->move_window(0)) << "what is exported stays where it is";
  auto c = machine_.bring_up("c");
  auto channel = c->create_channel(Kind::copy, {});
  drivers::FunctionImporter importer(c->function(), machine_.fabric->domain(machine_.bdf("c")));
  // Without Bus Master Enable it answers nothing any more, either: what it would have moved is looked at in the memory.
  std::uint64_t word = 0;
  check_importer(importer, a->window_address(), [&](DmaAddress at) {
    ++word;
    std::memcpy(c->window_bytes({0, 8}).data(), &word, sizeof word);
    std::array<gpu::CommandResult, 1> results;
    EXPECT_TRUE((*channel)->submit(gpu::copy({.from = Operand::local(0), .to = Operand::bus(at), .bytes = 8})));
    (*channel)->ring();
    base::Clock& clock = machine_.fabric->clock();
    (void)base::wait_until(clock, clock.now() + 20ms, [&] { return (*channel)->poll(results).value_or(1) != 0; });
    return std::memcmp(a->window_bytes({0, 8}).data(), &word, sizeof word) == 0;
  });
}

// One thread computes over memory that another one's DMA fills meanwhile: only places of their own are promised.
TEST_P(AcceleratorOnModel, ComputesWhileOthersWriteItsMemory) {
  auto a = machine_.bring_up("a");
  auto b = machine_.bring_up("b");
  auto computes = a->create_channel(Kind::compute, {});
  auto copies = b->create_channel(Kind::copy, {});
  drivers::FunctionImporter importer(b->function(), machine_.fabric->domain(machine_.bdf("b")));
  const auto address = importer.domain().map(a->window_address() + 8_MiB, 8_MiB, Access::write);
  ASSERT_TRUE(address);
  // Below one switch without ACS, requests go by bus address, whatever the IOMMU does.
  const DmaAddress to{(a->window_address() + 8_MiB).value};
  std::ranges::copy(pattern(8_MiB), a->window_bytes({0, 8_MiB}).begin());
  std::ranges::copy(pattern(8_MiB, 3), b->window_bytes({0, 8_MiB}).begin());
  ASSERT_TRUE((*computes)->submit(gpu::checksum({.from = Operand::local(0), .bytes = 8_MiB}, 1)));
  ASSERT_TRUE((*copies)->submit(gpu::copy({.from = Operand::local(0), .to = Operand::bus(to), .bytes = 8_MiB}, 2)));
  (*computes)->ring();
  (*copies)->ring();
  std::array<gpu::CommandResult, 2> results;
  std::size_t done = 0;
  std::uint64_t last = 0;
  base::Clock& clock = machine_.fabric->clock();
  ASSERT_TRUE(base::wait_until(clock, clock.now() + 60s, [&] {
    const std::uint64_t now = (*computes)->progress().value();
    EXPECT_GE(now, last);
    last = now;
    done += (*computes)->poll(std::span(results).subspan(done)).value_or(0);
    done += (*copies)->poll(std::span(results).subspan(done)).value_or(0);
    return done == 2;
  }));
  const auto bytes = pattern(8_MiB);
  EXPECT_TRUE(results[0].ok() && results[1].ok());
  EXPECT_EQ(std::ranges::find(results, 1u, &gpu::CommandResult::tag)->result, XXH64(bytes.data(), bytes.size(), 0));
  EXPECT_TRUE(std::ranges::equal(a->window_bytes({8_MiB, 8_MiB}), pattern(8_MiB, 3)));
  importer.domain().unmap(*address, 8_MiB);
}

// Pages are mapped one by one as they are asked for, and the results are the same.
TEST_P(AcceleratorOnModel, CommandsAskForThePagesThatTheyMiss) {
  constexpr std::uint64_t kVirtual = 0x7654'3210'0000;  // local memory from here on, as far as it is there
  auto a = machine_.bring_up("a");
  ASSERT_TRUE(a->facts().makes_page_requests);
  auto channel = a->create_channel(Kind::compute, {.page_requests = true});
  ASSERT_TRUE(channel) << channel.error().message();
  base::Clock& clock = machine_.fabric->clock();
  std::map<std::uint64_t, Access> pages;
  const auto carry_out = [&](const gpu::Command& command, bool meets = true) {
    EXPECT_TRUE((*channel)->submit(command));
    (*channel)->ring();
    std::array<gpu::CommandResult, 4> results;
    std::size_t requests = 0;
    const bool ended = base::wait_until(clock, clock.now() + 10s, [&] {
      const auto count = (*channel)->poll(results);
      EXPECT_TRUE(count) << count.error().message();
      if (*count == 0) return false;
      if (!results[0].is_page_request()) return true;
      ++requests;
      const std::uint64_t page = results[0].result / 4096 * 4096;
      const Access access = results[0].wants_to_write() ? Access::read_write : Access::read;
      if (meets) {
        EXPECT_TRUE(!pages.contains(page) || a->address_space().unmap(page));
        EXPECT_TRUE(a->address_space().map_local({page, 4096, access}, page - kVirtual));
        pages[page] = access;
      }
      using Answer = gpu::Channel::PageAnswer;
      EXPECT_TRUE((*channel)->answer(meets ? Answer::there : Answer::refused));
      return false;
    });
    EXPECT_TRUE(ended);
    EXPECT_GT(requests, 0u);
    for (const auto& [page, access] : std::exchange(pages, {})) EXPECT_TRUE(a->address_space().unmap(page));
    return results[0];
  };
  const auto at = [](std::uint64_t offset) { return Operand::virtual_memory(kVirtual + offset); };
  const auto bytes = a->window_bytes({0, 4_MiB});
  std::ranges::copy(pattern(4_MiB), bytes.begin());

  const auto sum = carry_out(gpu::checksum({.from = at(4000), .bytes = 300'000}));
  EXPECT_EQ(sum.result, XXH64(bytes.data() + 4000, 300'000, 0));

  // Over its own source, which must not be read again once it is written.
  constexpr std::size_t kWords = 50'000;
  std::vector<std::uint32_t> one(kWords), other(kWords), into(kWords);
  std::memcpy(one.data(), bytes.data() + 1_MiB + 2000, kWords * 4);
  std::memcpy(other.data(), bytes.data() + 2_MiB + 500, kWords * 4);
  EXPECT_TRUE(carry_out({.opcode = gpu::Opcode::add,
                         .source = at(1_MiB + 2000),
                         .second = at(2_MiB + 500),
                         .destination = at(1_MiB + 2000),
                         .count = kWords})
                  .ok());
  std::memcpy(into.data(), bytes.data() + 1_MiB + 2000, kWords * 4);
  for (std::size_t word = 0; word < kWords; ++word) ASSERT_EQ(into[word], one[word] + other[word]) << word;

  // The counts go over the end of a page.
  std::array<std::uint64_t, 256> counts{}, found{};
  for (const std::byte byte : bytes.first(100'000)) ++counts[static_cast<std::size_t>(byte)];
  EXPECT_TRUE(
      carry_out(
          {.opcode = gpu::Opcode::histogram, .source = at(0), .destination = at(3_MiB + 4096 - 800), .count = 100'000})
          .ok());
  std::memcpy(found.data(), bytes.data() + 3_MiB + 4096 - 800, sizeof found);
  EXPECT_EQ(found, counts);

  // So do the weights, which are read before anything else: they leave each pixel as it is.
  const std::array<std::int16_t, 9> weights = {0, 0, 0, 0, 1, 0, 0, 0, 0};
  std::memcpy(bytes.data() + 3_MiB - 6, weights.data(), sizeof weights);
  EXPECT_TRUE(carry_out({.opcode = gpu::Opcode::filter,
                         .source = at(100),
                         .second = at(3_MiB - 6),
                         .destination = at(2_MiB + 100),
                         .count = std::uint64_t{90} << 32 | 111})
                  .ok());
  EXPECT_TRUE(std::ranges::equal(bytes.subspan(100, 9990), bytes.subspan(2_MiB + 100, 9990)));

  const auto refused = carry_out(gpu::checksum({.from = at(4000), .bytes = 300'000}), false);
  EXPECT_EQ(refused.status, 4);
  EXPECT_EQ(refused.result, kVirtual + 4000);
}

TEST_P(AcceleratorOnModel, SendsInterrupts) {
  auto a = machine_.bring_up("a", {.use_interrupts = true});
  auto channel = a->create_channel(Kind::compute, {});
  EXPECT_FALSE((*channel)->take_interrupt());
  EXPECT_TRUE(run(**channel, {.opcode = gpu::Opcode::nop}).ok());
  EXPECT_FALSE((*channel)->take_interrupt());
  ASSERT_TRUE((*channel)->submit({.opcode = gpu::Opcode::nop, .interrupt = true}));
  (*channel)->ring();
  base::Clock& clock = machine_.fabric->clock();
  EXPECT_TRUE(base::wait_until(clock, clock.now() + 10s, [&] { return (*channel)->take_interrupt(); }));
  std::array<gpu::CommandResult, 1> results;
  EXPECT_EQ((*channel)->poll(results), 1u);
}

TEST_P(AcceleratorOnModel, IsGoneInMidCommand) {
  auto a = machine_.bring_up("a");
  auto channel = a->create_channel(Kind::compute, {});
  ASSERT_TRUE((*channel)->submit(gpu::checksum({.from = Operand::local(0), .bytes = 16_MiB})));
  (*channel)->ring();
  machine_.fabric->remove(machine_.bdf("a"));
  std::array<gpu::CommandResult, 1> results;
  base::Clock& clock = machine_.fabric->clock();
  Result<std::size_t> last = 0;
  ASSERT_TRUE(base::wait_until(clock, clock.now() + 10s, [&] {
    last = (*channel)->poll(results);
    return !last || *last == 1;
  }));
  if (!last) {
    EXPECT_EQ(last.error().code, ErrorCode::device_gone) << last.error().message();
  }
}

INSTANTIATE_TEST_SUITE_P(Fabric, AcceleratorOnModel,
                         testing::Values(Way{"stepped", fabric::Running::stepped, IommuMode::off},
                                         Way{"stepped_iommu", fabric::Running::stepped, IommuMode::translate},
                                         Way{"threaded_iommu", fabric::Running::threaded, IommuMode::translate}),
                         [](const auto& way) { return way.param.name; });

// A window of 1 MiB that moves over 64 MiB of memory.
TEST(AcceleratorWindow, ShowsAllOfTheMemoryInTurn) {
  AcceleratorMachine machine(fabric::one_switch(), {.host_memory_bytes = 64_MiB},
                             {.memory_bytes = 64_MiB, .window_bytes = 1_MiB});
  auto a = machine.bring_up("a");
  EXPECT_EQ(a->window(), (MemoryRange{0, 1_MiB}));
  auto channel = a->create_channel(Kind::copy, {});
  EXPECT_TRUE((*channel)->progress());
  for (std::uint64_t base = 1_MiB; base < 64_MiB; base += 1_MiB) {
    ASSERT_TRUE(a->move_window(base));
    std::memcpy(a->window_bytes({512, 8}).data(), &base, 8);
  }
  EXPECT_FALSE((*channel)->progress()) << "the counter is not in the window";
  for (std::uint64_t base = 1_MiB; base < 64_MiB; base += 1_MiB)
    EXPECT_TRUE(
        do_command(machine.fabric->clock(), **channel,
                   gpu::copy({.from = Operand::local(base + 512), .to = Operand::local(base / 1_MiB * 8), .bytes = 8}))
            .ok());
  ASSERT_TRUE(a->move_window(0));
  for (std::uint64_t base = 1_MiB; base < 64_MiB; base += 1_MiB) {
    std::uint64_t found = 0;
    std::memcpy(&found, a->window_bytes({base / 1_MiB * 8, 8}).data(), 8);
    EXPECT_EQ(found, base);
  }
  EXPECT_FALSE(a->move_window(100));
  EXPECT_FALSE(a->move_window(64_MiB));
  gpu::MemoryExporter exporter(*a);
  EXPECT_EQ(exporter.size_bytes(), 1_MiB - 64_KiB);
  EXPECT_FALSE(a->move_window(1_MiB));
}

}  // namespace
}  // namespace barter::contract
