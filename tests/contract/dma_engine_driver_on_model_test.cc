// The DMA engine's driver on the DMA engine's model: two transcriptions of one specification meet. And the contract of
// pci::Function on it, whose DMA and interrupts are its own channels'.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "accelerator_machine.h"
#include "devices/dma_engine/dma_engine.h"
#include "drivers/dma_engine/engine.h"
#include "drivers/function_importer.h"
#include "function_contract.h"
#include "importer_contract.h"

namespace barter::contract {
namespace {

using namespace barter::literals;
namespace dma = drivers::dma_engine;
using testing::IsEmpty;

Result<std::unique_ptr<fabric::Device>> make_engine(std::string_view) {
  return devices::dma_engine::create_dma_engine(
      {.channels = 2, .ring_log2 = 6, .segments = 32, .transfer_bytes = 64_MiB});
}

std::vector<std::byte> pattern(std::size_t bytes, unsigned step = 7) {
  std::vector<std::byte> all(bytes);
  for (std::size_t at = 0; at < bytes; ++at) all[at] = static_cast<std::byte>(at * step + at / 251);
  return all;
}

struct Way {
  const char* name;
  fabric::Running running;
  IommuMode iommu;
};

class DmaEngineOnModel : public testing::TestWithParam<Way> {
 protected:
  // An engine at "a", another one at "b", and an accelerator at "c".
  DmaEngineOnModel()
      : machine_(description(), {.running = GetParam().running, .host_memory_bytes = 256_MiB},
                 [](std::string_view name) {
                   return name == "c" ? devices::accelerator::create_accelerator({.memory_bytes = 32_MiB})
                                      : make_engine(name);
                 }) {}
  ~DmaEngineOnModel() override { EXPECT_THAT(machine_.fabric->violations(), IsEmpty()); }

  static topology::Description description() {
    auto machine = fabric::one_switch();
    machine.iommu = GetParam().iommu;
    machine.root_complexes[0].turns_reads = machine.root_complexes[0].turns_writes = true;
    return machine;
  }
  std::unique_ptr<dma::Engine> bring_up(dma::EngineOptions options = {}) {
    auto made = dma::Engine::create(machine_.function("a"), options);
    EXPECT_TRUE(made) << made.error().message();
    return std::move(*made);
  }
  dma::CommandResult run(dma::Channel& channel, const dma::Command& command) {
    const auto sent = channel.submit(command);
    EXPECT_TRUE(sent) << sent.error().message();
    channel.ring();
    std::array<dma::CommandResult, 1> results{dma::CommandResult{.status = 255}};
    base::Clock& clock = machine_.fabric->clock();
    EXPECT_TRUE(base::wait_until(clock, clock.now() + 60s, [&] { return channel.poll(results).value_or(1) == 1; }));
    return results[0];
  }
  AcceleratorMachine machine_;
};

TEST_P(DmaEngineOnModel, MovesBetweenListsThatAreNotCutAlike) {
  auto engine = bring_up();
  EXPECT_EQ(engine->facts().channels, 2u);
  EXPECT_EQ(engine->facts().max_ring_entries, 64u);
  EXPECT_EQ(engine->facts().max_segments, 32u);
  EXPECT_EQ(engine->facts().max_transfer_bytes, 64_MiB);
  auto channel = engine->create_channel({});
  ASSERT_TRUE(channel) << channel.error().message();
  auto from = engine->function().allocate_dma(3_MiB, pci::DmaUse::data);
  auto to = engine->function().allocate_dma(3_MiB, pci::DmaUse::data);
  ASSERT_TRUE(from && to);
  std::ranges::copy(pattern(3_MiB), from->bytes().begin());
  std::vector<DmaSegment> sources, targets;
  for (std::uint64_t at = 0, next = 1; at < 3_MiB; at += next, next = std::min(3 * next, 3_MiB - at))
    sources.push_back({from->address() + at, next});
  for (std::uint64_t at = 0; at < 3_MiB; at += 128_KiB) targets.push_back({to->address() + at, 128_KiB});
  const auto moved = run(**channel, {.from = sources, .to = targets, .tag = 77});
  EXPECT_TRUE(moved.ok()) << dma::describe_status(moved.status);
  EXPECT_EQ(moved.tag, 77u);
  EXPECT_EQ(moved.moved_bytes, 3_MiB);
  EXPECT_EQ((*channel)->moved_bytes(), 3_MiB);
  EXPECT_TRUE(std::ranges::equal(to->bytes(), pattern(3_MiB)));
  const DmaSegment all = to->segment();
  EXPECT_TRUE(run(**channel, {.opcode = dma::Opcode::fill, .pattern = 0x1122334455667788, .to = {&all, 1}}).ok());
  EXPECT_EQ(to->bytes()[1_MiB], std::byte{0x88});
  EXPECT_EQ(to->bytes()[3_MiB - 1], std::byte{0x11});
}

TEST_P(DmaEngineOnModel, ManyCommandsInFlightEachComeBackOnce) {
  auto engine = bring_up();
  auto one = engine->create_channel({.entries = 8});
  auto two = engine->create_channel({.entries = 8});
  ASSERT_TRUE(one && two);
  EXPECT_FALSE(engine->create_channel({})) << "both are in use";
  auto memory = engine->function().allocate_dma(64_KiB, pci::DmaUse::data);
  std::ranges::copy(pattern(32_KiB), memory->bytes().begin());
  const DmaSegment from{memory->address(), 32_KiB};
  const DmaSegment to[] = {{memory->address() + 32_KiB, 1}, {memory->address() + 32_KiB + 1, 32_KiB - 1}};
  std::vector<int> seen(1000);
  std::array<dma::CommandResult, 8> results;
  std::size_t submitted = 0;
  std::size_t done = 0;
  while (done < seen.size()) {
    std::size_t taken = 0;
    for (dma::Channel* channel : {one->get(), two->get()}) {
      while (submitted < seen.size() && channel->in_flight() < channel->capacity())
        ASSERT_TRUE(channel->submit({.from = {&from, 1}, .to = to, .tag = submitted++}));
      channel->ring();
      const auto count = channel->poll(results);
      ASSERT_TRUE(count) << count.error().message();
      for (const auto& result : std::span(results).first(*count)) {
        EXPECT_TRUE(result.ok());
        ++seen[result.tag];
      }
      taken += *count;
    }
    done += taken;
    if (taken == 0) machine_.fabric->clock().idle();
  }
  EXPECT_EQ(std::ranges::count(seen, 1), 1000);
  EXPECT_TRUE(std::ranges::equal(memory->bytes().subspan(32_KiB), pattern(32_KiB)));
}

// Neither end of the move is host memory, and the bytes never are there.
TEST_P(DmaEngineOnModel, MovesWithinAnAcceleratorsMemoryUntilItMayNot) {
  auto engine = bring_up();
  auto accelerator = machine_.bring_up("c");
  auto channel = engine->create_channel({});
  drivers::FunctionImporter importer(engine->function(), machine_.fabric->domain(machine_.bdf("a")));
  const auto address = importer.domain().map(accelerator->window_address(), 2_MiB, Access::read_write);
  ASSERT_TRUE(channel && address);
  std::ranges::copy(pattern(1_MiB), accelerator->window_bytes({0, 1_MiB}).begin());
  const DmaSegment from{*address, 1_MiB};
  const DmaSegment to{*address + 1_MiB, 1_MiB};
  const fabric::Counters before = machine_.fabric->counters();
  EXPECT_TRUE(run(**channel, {.from = {&from, 1}, .to = {&to, 1}}).ok());
  const fabric::Counters after = machine_.fabric->counters();
  EXPECT_TRUE(std::ranges::equal(accelerator->window_bytes({1_MiB, 1_MiB}), pattern(1_MiB)));
  EXPECT_EQ(after.host_data_read_bytes + after.host_data_written_bytes,
            before.host_data_read_bytes + before.host_data_written_bytes);
  EXPECT_EQ(after.peer_read_bytes - before.peer_read_bytes, 1_MiB);
  EXPECT_EQ(after.peer_written_bytes - before.peer_written_bytes, 1_MiB);
  importer.domain().unmap(*address, 2_MiB);
  if (GetParam().iommu == IommuMode::translate) {
    EXPECT_EQ(run(**channel, {.from = {&from, 1}, .to = {&to, 1}}).status, 5);
  }
}

TEST_P(DmaEngineOnModel, KeepsTheImportersContract) {
  auto engine = bring_up();
  auto accelerator = machine_.bring_up("c");
  auto channel = engine->create_channel({});
  drivers::FunctionImporter importer(engine->function(), machine_.fabric->domain(machine_.bdf("a")));
  std::uint64_t word = 0;
  check_importer(importer, accelerator->window_address(), [&](DmaAddress at) {
    ++word;
    const DmaSegment to{at, 8};
    std::array<dma::CommandResult, 1> results;
    EXPECT_TRUE((*channel)->submit({.opcode = dma::Opcode::fill, .pattern = word, .to = {&to, 1}}));
    (*channel)->ring();
    base::Clock& clock = machine_.fabric->clock();
    (void)base::wait_until(clock, clock.now() + 20ms, [&] { return (*channel)->poll(results).value_or(1) != 0; });
    return std::memcmp(accelerator->window_bytes({0, 8}).data(), &word, sizeof word) == 0;
  });
}

TEST_P(DmaEngineOnModel, BringingItUpAnewForgetsTheOldUser) {
  auto function = machine_.function("a");
  auto bar = function->map_bar(0);
  ASSERT_TRUE(bar);
  (*bar)->store32({0x20}, 7);
  auto engine = bring_up();
  EXPECT_EQ((*bar)->load32({0x20}), 0u);
  auto channel = engine->create_channel({});
  EXPECT_TRUE(run(**channel, {.opcode = dma::Opcode::nop}).ok());
}

TEST_P(DmaEngineOnModel, SendsInterruptsAndIsGoneInMidCommand) {
  auto engine = bring_up({.use_interrupts = true});
  auto channel = engine->create_channel({});
  EXPECT_TRUE(run(**channel, {.opcode = dma::Opcode::nop}).ok());
  EXPECT_FALSE((*channel)->take_interrupt());
  EXPECT_TRUE(run(**channel, {.opcode = dma::Opcode::nop, .interrupt = true}).ok());
  base::Clock& clock = machine_.fabric->clock();
  EXPECT_TRUE(base::wait_until(clock, clock.now() + 10s, [&] { return (*channel)->take_interrupt(); }));

  auto memory = engine->function().allocate_dma(32_MiB, pci::DmaUse::data);
  const DmaSegment from{memory->address(), 16_MiB};
  const DmaSegment to{memory->address() + 16_MiB, 16_MiB};
  ASSERT_TRUE((*channel)->submit({.from = {&from, 1}, .to = {&to, 1}}));
  (*channel)->ring();
  machine_.fabric->remove(machine_.bdf("a"));
  std::array<dma::CommandResult, 1> results;
  Result<std::size_t> last = 0;
  ASSERT_TRUE(base::wait_until(clock, clock.now() + 10s, [&] {
    last = (*channel)->poll(results);
    return !last || *last == 1;
  }));
  if (!last) {
    EXPECT_EQ(last.error().code, ErrorCode::device_gone) << last.error().message();
  }
}

INSTANTIATE_TEST_SUITE_P(Fabric, DmaEngineOnModel,
                         testing::Values(Way{"stepped", fabric::Running::stepped, IommuMode::off},
                                         Way{"stepped_iommu", fabric::Running::stepped, IommuMode::translate},
                                         Way{"threaded_iommu", fabric::Running::threaded, IommuMode::translate}),
                         [](const auto& way) { return way.param.name; });

}  // namespace
}  // namespace barter::contract

namespace barter::pci {
namespace {

using namespace barter::literals;
namespace dma = drivers::dma_engine;

template <fabric::Running kRunning, IommuMode kIommu>
class OnDmaEngine {
 public:
  static constexpr unsigned kScratchBar = 0;
  static constexpr std::uint64_t kScratchRegister = 0x20;
  static constexpr unsigned kMemoryBar = kNoMemoryBar;
  static constexpr unsigned kMissingBar = 2;
  static constexpr unsigned kVectors = 2;

  OnDmaEngine() : machine_(description(), {.running = kRunning, .host_memory_bytes = 64_MiB}, contract::make_engine) {
    function_ = machine_.function("a");
    other_ = machine_.function("b");
  }
  Function& function() { return *function_; }
  Function& other() { return *other_; }
  bool device_writes(DmaAddress to, std::span<std::byte> bytes) { return move("a", to, bytes, true); }
  bool other_device_writes(DmaAddress to, std::span<std::byte> bytes) { return move("b", to, bytes, true); }
  bool device_reads(DmaAddress from, std::span<std::byte> bytes) { return move("a", from, bytes, false); }
  void device_interrupts(unsigned vector) {
    auto engine = dma::Engine::create(machine_.function("a"), {});
    std::vector<std::unique_ptr<dma::Channel>> channels;
    while (channels.size() <= vector) channels.push_back(std::move(*(*engine)->create_channel({})));
    (void)wait_for(*channels.back(), {.opcode = dma::Opcode::nop, .interrupt = true});
  }

 private:
  static topology::Description description() {
    auto machine = fabric::one_switch();
    machine.iommu = kIommu;
    return machine;
  }
  bool wait_for(dma::Channel& channel, const dma::Command& command) {
    EXPECT_TRUE(channel.submit(command));
    channel.ring();
    std::array<dma::CommandResult, 1> results;
    base::Clock& clock = machine_.fabric->clock();
    return base::wait_until(clock, clock.now() + 50ms, [&] { return channel.poll(results).value_or(0) == 1; }) &&
           results[0].ok();
  }
  // The suite may have taken Bus Master Enable; bringing the engine up would give it back, and nothing be shown.
  bool move(std::string_view name, DmaAddress at, std::span<std::byte> bytes, bool to_bus) {
    const auto function = machine_.function(name);
    const auto command = function->read_config(4, 2).value();
    auto engine = dma::Engine::create(machine_.function(name), {});
    auto channel = (*engine)->create_channel({});
    auto memory = (*engine)->function().allocate_dma(bytes.size(), DmaUse::data);
    EXPECT_TRUE(function->write_config(4, 2, command));
    const DmaSegment here{memory->address(), bytes.size()};
    const DmaSegment there{at, bytes.size()};
    if (to_bus) std::ranges::copy(bytes, memory->bytes().begin());
    const bool moved = wait_for(**channel, {.from = {to_bus ? &here : &there, 1}, .to = {to_bus ? &there : &here, 1}});
    if (!to_bus) std::ranges::copy(memory->bytes().first(bytes.size()), bytes.begin());
    channel->reset();
    engine->reset();
    EXPECT_TRUE(function->write_config(4, 2, command));
    return moved;
  }
  contract::AcceleratorMachine machine_;
  std::unique_ptr<Function> function_;
  std::unique_ptr<Function> other_;
};

using Machines = testing::Types<OnDmaEngine<fabric::Running::stepped, IommuMode::off>,
                                OnDmaEngine<fabric::Running::stepped, IommuMode::translate>,
                                OnDmaEngine<fabric::Running::threaded, IommuMode::translate>>;
INSTANTIATE_TYPED_TEST_SUITE_P(DmaEngine, FunctionContract, Machines);

}  // namespace
}  // namespace barter::pci
