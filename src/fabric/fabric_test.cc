#include "fabric/fabric.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "fabric/test_machines.h"
#include "pci/capabilities/acs.h"

namespace barter::fabric {
namespace {

std::vector<std::byte> pattern(std::size_t bytes, unsigned seed = 1) {
  std::vector<std::byte> data(bytes);
  for (std::size_t at = 0; at < bytes; ++at)
    data[at] = static_cast<std::byte>((at * 131 + seed * 17 + (at >> 8)) & 0xff);
  return data;
}

std::vector<std::byte> to_vector(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

const LinkCounters& link(const Counters& counters, std::string_view port) {
  static const LinkCounters none{};
  const auto found =
      std::find_if(counters.links.begin(), counters.links.end(), [&](const auto& one) { return one.port == port; });
  if (found == counters.links.end()) {
    ADD_FAILURE() << "no link " << port;
    return none;
  }
  return *found;
}

TEST(Fabric, BusesAreNumberedDepthFirst) {
  TestMachine machine(one_switch());
  EXPECT_EQ(machine.bdf("rp0").to_string(), "0000:00:01.0");
  EXPECT_EQ(machine.bdf("sw0").to_string(), "0000:01:00.0");
  EXPECT_EQ(machine.bdf("sw0.0").to_string(), "0000:02:00.0");
  EXPECT_EQ(machine.bdf("sw0.1").to_string(), "0000:02:01.0");
  EXPECT_EQ(machine.bdf("a").to_string(), "0000:03:00.0");
  EXPECT_EQ(machine.bdf("b").to_string(), "0000:04:00.0");
  EXPECT_EQ(machine.bdf("rp1").to_string(), "0000:00:02.0");
  EXPECT_EQ(machine.bdf("c").to_string(), "0000:05:00.0");
}

TEST(Fabric, PeerWriteIsTurnedAroundAtTheSwitch) {
  TestMachine machine(one_switch());
  const auto data = pattern(10000);
  const DmaAddress to = as_dma(TestMachine::bar(*machine.devices[1], 2)) + 100;
  ASSERT_EQ(machine.devices[0]->bus().write(to, data), Completion::successful);
  EXPECT_EQ(to_vector(machine.devices[1]->memory().subspan(100, data.size())), data);

  const Counters counters = machine.fabric->counters();
  EXPECT_EQ(counters.peer_written_bytes, data.size());
  EXPECT_EQ(counters.host_data_read_bytes + counters.host_data_written_bytes, 0u);
  EXPECT_EQ(link(counters, "sw0.0").upstream_bytes, data.size());
  EXPECT_EQ(link(counters, "sw0.1").downstream_bytes, data.size());
  EXPECT_EQ(link(counters, "rp0").upstream_bytes, 0u);
  EXPECT_EQ(link(counters, "rp0").downstream_bytes, 0u);
}

TEST(Fabric, PeerReadIsCountedOnTheCompletionsWay) {
  TestMachine machine(one_switch());
  const auto data = pattern(5000);
  std::copy(data.begin(), data.end(), machine.devices[1]->memory().begin());
  std::vector<std::byte> got(data.size());
  ASSERT_EQ(machine.devices[0]->bus().read(as_dma(TestMachine::bar(*machine.devices[1], 2)), got),
            Completion::successful);
  EXPECT_EQ(got, data);
  const Counters counters = machine.fabric->counters();
  EXPECT_EQ(counters.peer_read_bytes, data.size());
  EXPECT_EQ(link(counters, "sw0.1").upstream_bytes, data.size());
  EXPECT_EQ(link(counters, "sw0.0").downstream_bytes, data.size());
  EXPECT_EQ(link(counters, "sw0.0").upstream_bytes, 0u);
}

TEST(Fabric, PeersReachRegisters) {
  TestMachine machine(one_switch());
  const std::uint32_t value = 0xcafef00d;
  const DmaAddress doorbell = as_dma(TestMachine::bar(*machine.devices[1], 0)) + 16;
  ASSERT_EQ(machine.devices[0]->bus().write(doorbell, std::as_bytes(std::span(&value, 1))), Completion::successful);
  EXPECT_EQ(machine.devices[1]->register_value(4), value);
  std::uint32_t back = 0;
  ASSERT_EQ(machine.devices[0]->bus().read(doorbell, std::as_writable_bytes(std::span(&back, 1))),
            Completion::successful);
  EXPECT_EQ(back, value);
  const auto run = machine.devices[0]->bus().run(doorbell, 4, Access::write);
  EXPECT_TRUE(run.memory.empty());
  EXPECT_EQ(run.status, Completion::successful);
}

TEST(Fabric, HostMemoryIsCountedByWhatItIsFor) {
  TestMachine machine(one_switch());
  auto function = machine.function("a");
  const auto data = function->allocate_dma(8192, pci::DmaUse::data);
  const auto control = function->allocate_dma(100, pci::DmaUse::control);
  ASSERT_TRUE(data && control);
  EXPECT_EQ(data->bytes().size(), 8192u);
  EXPECT_EQ(control->bytes().size(), 100u);
  const auto bytes = pattern(8192);
  ASSERT_EQ(machine.devices[0]->bus().write(data->address(), bytes), Completion::successful);
  EXPECT_EQ(to_vector(data->bytes()), bytes);
  std::vector<std::byte> list(64);
  ASSERT_EQ(machine.devices[0]->bus().read(control->address(), list), Completion::successful);
  const Counters counters = machine.fabric->counters();
  EXPECT_EQ(counters.host_data_written_bytes, 8192u);
  EXPECT_EQ(counters.host_data_read_bytes, 0u);
  EXPECT_EQ(counters.host_control_read_bytes, 64u);
  EXPECT_EQ(link(counters, "rp0").upstream_bytes, 8192u);
  EXPECT_EQ(link(counters, "rp0").downstream_bytes, 64u);
}

TEST(Fabric, FreedHostMemoryIsNobodysAndComesBackZeroed) {
  TestMachine machine(one_switch());
  auto function = machine.function("a");
  DmaAddress address;
  {
    const auto buffer = function->allocate_dma(4096, pci::DmaUse::data);
    address = buffer->address();
    ASSERT_EQ(machine.devices[0]->bus().write(address, pattern(4096)), Completion::successful);
  }
  EXPECT_EQ(machine.devices[0]->bus().write(address, pattern(16)), Completion::unsupported_request);
  EXPECT_EQ(machine.fabric->counters().unsupported_requests, 1u);
  const auto again = function->allocate_dma(4096, pci::DmaUse::data);
  EXPECT_EQ(again->address(), address);
  EXPECT_EQ(to_vector(again->bytes()), std::vector<std::byte>(4096));
}

TEST(Fabric, HostMemoryRunsOutWithAnErrorAndComesBack) {
  TestMachine machine(one_switch(), {.host_memory_bytes = 65536});
  auto function = machine.function("a");
  {
    const auto all = function->allocate_dma(65536, pci::DmaUse::data);
    ASSERT_TRUE(all);
    const auto more = function->allocate_dma(1, pci::DmaUse::data);
    ASSERT_FALSE(more);
    EXPECT_EQ(more.error().code, ErrorCode::exhausted);
  }
  EXPECT_TRUE(function->allocate_dma(65536, pci::DmaUse::data));
}

TEST(Fabric, RootComplexTurnsOnlyWhatItIsSaidToTurn) {
  for (const bool reads : {false, true}) {
    for (const bool writes : {false, true}) {
      auto description = one_switch();
      description.root_complexes[0].turns_reads = reads;
      description.root_complexes[0].turns_writes = writes;
      TestMachine machine(description);
      const auto data = pattern(64);
      std::vector<std::byte> got(64);
      const DmaAddress target = as_dma(TestMachine::bar(*machine.devices[2], 2));
      EXPECT_EQ(machine.devices[0]->bus().write(target, data) == Completion::successful, writes);
      EXPECT_EQ(machine.devices[0]->bus().read(target, got) == Completion::successful, reads);
      EXPECT_EQ(machine.devices[2]->memory()[1] == data[1], writes);
      const Counters counters = machine.fabric->counters();
      EXPECT_EQ(counters.blocked_requests, (reads ? 0u : 1u) + (writes ? 0u : 1u));
      EXPECT_EQ(link(counters, "rp1").downstream_bytes, writes ? 64u : 0u);
      EXPECT_EQ(link(counters, "rp1").upstream_bytes, reads ? 64u : 0u);
      EXPECT_EQ(link(counters, "rp0").downstream_bytes, reads ? 64u : 0u);
    }
  }
}

topology::Description switch_with_acs(std::uint16_t control) {
  auto description = one_switch();
  for (auto& port : description.switches[0].downstream) port.acs = {.capability = 0x5f, .control = control};
  return description;
}

TEST(Fabric, AcsRedirectsRequestsThroughTheRootComplex) {
  auto description = switch_with_acs(pci::acs::kRequestRedirect | pci::acs::kUpstreamForwarding);
  description.root_complexes[0].turns_writes = true;
  TestMachine machine(description);
  const DmaAddress target = as_dma(TestMachine::bar(*machine.devices[1], 2));
  ASSERT_EQ(machine.devices[0]->bus().write(target, pattern(64)), Completion::successful);
  ASSERT_EQ(machine.devices[0]->bus().write(target, pattern(64)), Completion::successful);
  std::vector<std::byte> got(64);
  EXPECT_EQ(machine.devices[0]->bus().read(target, got), Completion::unsupported_request);
  const Counters counters = machine.fabric->counters();
  EXPECT_EQ(counters.redirected_requests, 3u);
  EXPECT_EQ(counters.blocked_requests, 1u);
  EXPECT_EQ(link(counters, "rp0").upstream_bytes, 128u);
  EXPECT_EQ(link(counters, "rp0").downstream_bytes, 128u);
}

TEST(Fabric, AcsRedirectedCompletionNeedsARootComplexThatTurnsReads) {
  auto description = switch_with_acs(pci::acs::kCompletionRedirect);
  {
    TestMachine machine(description);
    std::vector<std::byte> got(64);
    const DmaAddress target = as_dma(TestMachine::bar(*machine.devices[1], 2));
    EXPECT_EQ(machine.devices[0]->bus().read(target, got), Completion::lost);
    EXPECT_EQ(machine.devices[0]->bus().write(target, pattern(64)), Completion::successful);
    EXPECT_EQ(machine.fabric->counters().blocked_requests, 1u);
  }
  description.root_complexes[0].turns_reads = true;
  TestMachine machine(description);
  std::vector<std::byte> got(64);
  EXPECT_EQ(machine.devices[0]->bus().read(as_dma(TestMachine::bar(*machine.devices[1], 2)), got),
            Completion::successful);
  EXPECT_EQ(link(machine.fabric->counters(), "rp0").upstream_bytes, 64u);
  EXPECT_EQ(machine.fabric->counters().redirected_requests, 1u);
}

TEST(Fabric, ConfigWritesTakeEffectAtOnce) {
  TestMachine machine(one_switch());
  auto a = machine.function("a");
  auto b = machine.function("b");
  const DmaAddress target = as_dma(TestMachine::bar(*machine.devices[1], 2));
  const auto write = [&] { return machine.devices[0]->bus().write(target, pattern(16)); };
  ASSERT_EQ(write(), Completion::successful);
  ASSERT_TRUE(b->write_config(4, 2, 4));  // Memory Space off, Bus Master on
  EXPECT_EQ(write(), Completion::unsupported_request);
  ASSERT_TRUE(b->write_config(4, 2, 6));
  EXPECT_EQ(write(), Completion::successful);
  ASSERT_TRUE(a->write_config(4, 2, 2));  // Bus Master off
  EXPECT_EQ(write(), Completion::unsupported_request);
  EXPECT_FALSE(machine.devices[0]->bus().may_master());
  ASSERT_TRUE(a->write_config(4, 2, 6));
  EXPECT_EQ(write(), Completion::successful);
  machine.fabric->set_bus_master(machine.bdf("a"), false);
  EXPECT_EQ(write(), Completion::unsupported_request);
  EXPECT_EQ(machine.fabric->counters().blocked_requests, 2u);
}

TEST(Fabric, RemovedFunctionsAreGone) {
  TestMachine machine(one_switch());
  auto b = machine.function("b");
  auto registers = b->map_bar(0).value();
  registers->store32({16}, 7);
  EXPECT_EQ(registers->load32({16}), 7u);
  machine.fabric->remove(machine.bdf("b"));
  EXPECT_EQ(registers->load32({16}), 0xffffffffu);
  EXPECT_EQ(b->read_config(0, 4).value(), 0xffffffffu);
  EXPECT_EQ(machine.devices[1]->bus().write({0x100000000}, pattern(4)), Completion::unsupported_request);
}

TEST(Fabric, LinkThatComesBackLeavesAResetDevice) {
  TestMachine machine(one_switch());
  auto b = machine.function("b");
  auto registers = b->map_bar(0).value();
  registers->store32({16}, 7);
  machine.fabric->set_link(machine.bdf("b"), false);
  EXPECT_EQ(registers->load32({16}), 0xffffffffu);
  EXPECT_EQ(registers->memory({0}, 1).size(), 0u);
  machine.fabric->set_link(machine.bdf("b"), true);
  EXPECT_EQ(machine.devices[1]->resets, 1);
  EXPECT_EQ(registers->load32({16}), 0xffffffffu) << "it answers before its driver has said so";
  ASSERT_TRUE(b->write_config(4, 2, 6));
  EXPECT_EQ(registers->load32({16}), 0u);
}

TEST(Fabric, IommuLetsThroughOnlyWhatIsMapped) {
  auto description = one_switch();
  description.iommu = IommuMode::translate;
  TestMachine machine(description);
  auto a = machine.function("a");
  const auto buffer = a->allocate_dma(8192, pci::DmaUse::data);
  const auto data = pattern(8192);
  ASSERT_EQ(machine.devices[0]->bus().write(buffer->address(), data), Completion::successful);
  EXPECT_EQ(to_vector(buffer->bytes()), data);
  // Another function has another domain.
  EXPECT_EQ(machine.devices[2]->bus().write(buffer->address(), pattern(64, 9)), Completion::unsupported_request);
  EXPECT_EQ(machine.devices[0]->bus().write(buffer->address() + 8192, pattern(64, 9)), Completion::unsupported_request);
  EXPECT_EQ(to_vector(buffer->bytes()), data);
  EXPECT_EQ(machine.fabric->counters().iommu_faults, 2u);
  const auto faults = machine.fabric->iommu_faults();
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[0].requester, machine.bdf("c"));
  EXPECT_EQ(faults[0].address, buffer->address());
  EXPECT_EQ(faults[0].access, Access::write);
}

TEST(Fabric, IommuMapsPeersBehindTheRootComplex) {
  auto description = one_switch();
  description.iommu = IommuMode::translate;
  description.root_complexes[0].turns_reads = true;
  description.root_complexes[0].turns_writes = true;
  TestMachine machine(description);
  peer::DmaDomain& domain = machine.fabric->domain(machine.bdf("a"));
  const BusAddress target = TestMachine::bar(*machine.devices[2], 2) + 100;
  const auto mapped = domain.map(target, 1000, Access::read);
  ASSERT_TRUE(mapped);
  EXPECT_EQ(mapped->value % 4096, target.value % 4096);
  machine.devices[2]->memory()[100] = std::byte{42};
  std::byte got{};
  EXPECT_EQ(machine.devices[0]->bus().read(*mapped, {&got, 1}), Completion::successful);
  EXPECT_EQ(got, std::byte{42});
  EXPECT_EQ(machine.devices[0]->bus().write(*mapped, {&got, 1}), Completion::unsupported_request);  // mapped for reads
  EXPECT_TRUE(machine.fabric->iommu_faults().back().is_mapped);
  // The raw bus address of what lies behind the root complex is no address in the domain.
  EXPECT_EQ(machine.devices[0]->bus().read(as_dma(target), {&got, 1}), Completion::unsupported_request);
  domain.unmap(*mapped, 1000);
  EXPECT_EQ(machine.devices[0]->bus().read(*mapped, {&got, 1}), Completion::unsupported_request);
  // Within the switch the raw bus address needs nobody's leave.
  EXPECT_EQ(machine.devices[0]->bus().read(as_dma(TestMachine::bar(*machine.devices[1], 2)), {&got, 1}),
            Completion::successful);
}

TEST(Fabric, InterruptsArriveOnceUnmasked) {
  TestMachine machine(one_switch());
  auto a = machine.function("a");
  machine.devices[0]->bus().interrupt(0);
  ASSERT_TRUE(a->enable_interrupts(2));
  EXPECT_FALSE(a->take_interrupt(0));
  machine.devices[0]->bus().interrupt(1);
  EXPECT_FALSE(a->take_interrupt(0));
  EXPECT_TRUE(a->take_interrupt(1));
  EXPECT_FALSE(a->take_interrupt(1));
  // Masked in the table: pending until it is unmasked.
  auto bar = a->map_bar(0).value();
  bar->store32({8192 + 12}, 1);
  machine.devices[0]->bus().interrupt(0);
  EXPECT_FALSE(a->take_interrupt(0));
  EXPECT_EQ(bar->load64({12288}), 1u);
  bar->store32({8192 + 12}, 0);
  EXPECT_TRUE(a->take_interrupt(0));
  EXPECT_EQ(bar->load64({12288}), 0u);
  EXPECT_FALSE(a->enable_interrupts(5));
}

TEST(Fabric, ResetKeepsTheAddressAndForgetsTheRest) {
  TestMachine machine(one_switch());
  auto a = machine.function("a");
  auto bar = a->map_bar(0).value();
  bar->store32({0}, 5);
  ASSERT_TRUE(a->enable_interrupts(1));
  ASSERT_TRUE(a->reset());
  EXPECT_EQ(machine.devices[0]->resets, 1);
  EXPECT_EQ(bar->load32({0}), 0u);
  machine.devices[0]->bus().interrupt(0);
  EXPECT_FALSE(a->take_interrupt(0));
}

TEST(Fabric, SteppedClockRunsTheDevices) {
  TestMachine machine(one_switch());
  int steps = 0;
  machine.devices[1]->on_step = [&] { return ++steps <= 3; };
  base::Clock& clock = machine.fabric->clock();
  const auto start = clock.now();
  EXPECT_TRUE(base::wait_until(clock, start + std::chrono::milliseconds(1), [&] { return steps >= 3; }));
  EXPECT_FALSE(base::wait_until(clock, clock.now() + std::chrono::milliseconds(1), [] { return false; }));
}

TEST(Fabric, RunGivesMemoryAndCountsIt) {
  TestMachine machine(one_switch());
  const DmaAddress target = as_dma(TestMachine::bar(*machine.devices[1], 2));
  const auto run = machine.devices[0]->bus().run(target + 16, 1 << 20, Access::write);
  EXPECT_EQ(run.memory.data(), machine.devices[1]->memory().data() + 16);
  EXPECT_EQ(run.memory.size(), machine.devices[1]->memory().size() - 16);
  EXPECT_EQ(machine.fabric->counters().peer_written_bytes, run.memory.size());
  EXPECT_TRUE(machine.devices[0]->bus().run({0x1234}, 4, Access::read).memory.empty());
}

}  // namespace
}  // namespace barter::fabric
