// The peer contract between accelerators: one exports what its window shows, through its driver; two others reach it by
// commands of their copy engines.
#include <algorithm>
#include <array>
#include <memory>
#include <string_view>

#include "drivers/function_importer.h"
#include "peer_accelerator_machine.h"

namespace barter::contract {
namespace {

using gpu::Operand;

// Does by its copy engine what the test says. What is not answered soon is not carried out.
class CopyEngine final : public ScriptedImporter {
 public:
  static Result<std::unique_ptr<fabric::Device>> make_device() {
    return devices::accelerator::create_accelerator({.memory_bytes = 320_KiB});
  }
  CopyEngine(AcceleratorMachine& machine, std::string_view name)
      : ScriptedImporter(machine.bdf(name)),
        accelerator_(machine.bring_up(name)),
        real_(accelerator_->function(), machine.fabric->domain(machine.bdf(name))) {
    auto made = accelerator_->create_channel(gpu::Kind::copy, {});
    EXPECT_TRUE(made);
    channel_ = std::move(*made);
  }
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] Result<void> isolate() override { return real_.isolate(); }

  bool write(DmaAddress to, std::span<const std::byte> bytes) {
    std::ranges::copy(bytes, accelerator_->window_bytes({0, bytes.size()}).begin());
    return copy({.from = Operand::local(0), .to = Operand::bus(to), .bytes = bytes.size()});
  }
  bool read(DmaAddress from, std::span<std::byte> bytes) {
    const bool done = copy({.from = Operand::bus(from), .to = Operand::local(0), .bytes = bytes.size()});
    std::ranges::copy(accelerator_->window_bytes({0, bytes.size()}), bytes.begin());
    return done;
  }

  std::uint64_t withheld = 0;  // copies that it did not start or finish

 private:
  bool copy(gpu::CopyBytes what) {
    std::array<gpu::CommandResult, 1> results;
    if (!channel_->submit(gpu::copy(what, ++tag_))) return false;
    channel_->ring();
    base::Clock& clock = accelerator_->function().clock();
    const bool answered = base::wait_until(
        clock, clock.now() + 200ms, [&] { return channel_->poll(results).value_or(0) == 1 && results[0].tag == tag_; });
    // An honest engine without Bus Master Enable starts no request at all: no counter of the machine sees it.
    if (!answered) ++withheld;
    return answered && results[0].ok();
  }
  std::unique_ptr<gpu::Accelerator> accelerator_;
  drivers::FunctionImporter real_;
  std::unique_ptr<gpu::Channel> channel_;
  std::uint64_t tag_ = 0;
};

INSTANTIATE_TEST_SUITE_P(OnAccelerators, PeerContract,
                         testing::Values(machine_with_accelerator<CopyEngine>("switch", {}),
                                         machine_with_accelerator<CopyEngine>("acs_with_iommu", kAcsWithIommu),
                                         machine_with_accelerator<CopyEngine>("threaded_switch", threaded({})),
                                         machine_with_accelerator<CopyEngine>("threaded_acs_with_iommu",
                                                                              threaded(kAcsWithIommu))),
                         name_of_param);
INSTANTIATE_TEST_SUITE_P(OnAccelerators, PeerContractGuarded,
                         testing::Values(machine_with_accelerator<CopyEngine>("acs_with_iommu", kAcsWithIommu),
                                         machine_with_accelerator<CopyEngine>("threaded_acs_with_iommu",
                                                                              threaded(kAcsWithIommu))),
                         name_of_param);

}  // namespace
}  // namespace barter::contract
