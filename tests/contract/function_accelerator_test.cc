// The contract of pci::Function on an accelerator, whose DMA and interrupts are its own engines'.
#include <algorithm>
#include <memory>

#include "accelerator_machine.h"
#include "barter/units.hpp"
#include "function_contract.h"

namespace barter::pci {
namespace {

using namespace barter::literals;
namespace gpu = drivers::accelerator;

template <fabric::Running kRunning, IommuMode kIommu>
class OnAccelerator {
 public:
  static constexpr unsigned kScratchBar = 0;
  static constexpr std::uint64_t kScratchRegister = 0x48;
  static constexpr unsigned kMemoryBar = 2;
  static constexpr unsigned kMissingBar = 4;
  static constexpr unsigned kVectors = 4;  // two channels of each kind

  OnAccelerator()
      : machine_(description(), {.running = kRunning, .host_memory_bytes = 64_MiB}, {.memory_bytes = 1_MiB}) {
    function_ = machine_.function("a");
    other_ = machine_.function("b");
  }
  Function& function() { return *function_; }
  Function& other() { return *other_; }
  bool device_writes(DmaAddress to, std::span<std::byte> bytes) { return copy("a", to, bytes, true); }
  bool other_device_writes(DmaAddress to, std::span<std::byte> bytes) { return copy("b", to, bytes, true); }
  bool device_reads(DmaAddress from, std::span<std::byte> bytes) { return copy("a", from, bytes, false); }
  // Each channel has a vector of its own: takes channels until it has the one.
  void device_interrupts(unsigned vector) {
    auto device = machine_.bring_up("a");
    std::vector<std::unique_ptr<gpu::Channel>> channels;
    for (const gpu::Kind kind : {gpu::Kind::copy, gpu::Kind::copy, gpu::Kind::compute, gpu::Kind::compute})
      channels.push_back(std::move(*device->create_channel(kind, {})));
    (void)contract::do_command(machine_.fabric->clock(), *channels.at(vector),
                               {.opcode = gpu::Opcode::nop, .interrupt = true});
  }

 private:
  static topology::Description description() {
    auto machine = fabric::one_switch();
    machine.iommu = kIommu;
    return machine;
  }
  // The suite may have taken Bus Master Enable; bringing the device up would give it back, and nothing be shown.
  bool copy(std::string_view name, DmaAddress at, std::span<std::byte> bytes, bool to_bus) {
    const auto function = machine_.function(name);
    const auto command = function->read_config(4, 2).value();
    auto device = machine_.bring_up(name);
    auto channel = device->create_channel(gpu::Kind::copy, {});
    EXPECT_TRUE(function->write_config(4, 2, command));
    const auto local = device->window_bytes({0, bytes.size()});
    if (to_bus) std::ranges::copy(bytes, local.begin());
    EXPECT_TRUE((*channel)->submit(gpu::copy(
        to_bus ? gpu::CopyBytes{.from = gpu::Operand::local(0), .to = gpu::Operand::bus(at), .bytes = bytes.size()}
               : gpu::CopyBytes{.from = gpu::Operand::bus(at), .to = gpu::Operand::local(0), .bytes = bytes.size()})));
    (*channel)->ring();
    std::array<gpu::CommandResult, 1> results;
    base::Clock& clock = machine_.fabric->clock();
    const bool answered =
        base::wait_until(clock, clock.now() + 50ms, [&] { return (*channel)->poll(results).value_or(0) == 1; });
    if (!to_bus) std::ranges::copy(local, bytes.begin());
    channel->reset();
    device.reset();
    EXPECT_TRUE(function->write_config(4, 2, command));
    return answered && results[0].ok();
  }
  contract::AcceleratorMachine machine_;
  std::unique_ptr<Function> function_;
  std::unique_ptr<Function> other_;
};

using Machines = testing::Types<OnAccelerator<fabric::Running::stepped, IommuMode::off>,
                                OnAccelerator<fabric::Running::stepped, IommuMode::translate>,
                                OnAccelerator<fabric::Running::threaded, IommuMode::translate>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Accelerator, FunctionContract, Machines);

}  // namespace
}  // namespace barter::pci
