// The peer contract between an accelerator, which exports what its window shows, and two DMA engines, which hold no memory of their
// own and reach it by commands.
#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <utility>

#include "devices/dma_engine/dma_engine.h"
#include "drivers/dma_engine/engine.h"
#include "drivers/function_importer.h"
#include "peer_accelerator_machine.h"

namespace barter::contract {
namespace {

namespace dma = drivers::dma_engine;

// Moves by its engine what the test says, to and from a buffer of the host. What is not answered soon is not carried out.
class MoveEngine final : public ScriptedImporter {
 public:
  static Result<std::unique_ptr<fabric::Device>> make_device() { return devices::dma_engine::create_dma_engine({}); }
  MoveEngine(AcceleratorMachine& machine, std::string_view name)
      : ScriptedImporter(machine.bdf(name)),
        engine_(std::move(*dma::Engine::create(machine.function(name), {}))),
        real_(engine_->function(), machine.fabric->domain(machine.bdf(name))),
        channel_(std::move(*engine_->create_channel({}))),
        buffer_(std::move(*engine_->function().allocate_dma(256_KiB, pci::DmaUse::data))) {}
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] Result<void> isolate() override { return real_.isolate(); }

  bool write(DmaAddress to, std::span<const std::byte> bytes) {
    std::ranges::copy(bytes, buffer_.bytes().begin());
    return move(here(bytes.size()), {to, bytes.size()});
  }
  bool read(DmaAddress from, std::span<std::byte> bytes) {
    const bool done = move({from, bytes.size()}, here(bytes.size()));
    std::ranges::copy(buffer_.bytes().first(bytes.size()), bytes.begin());
    return done;
  }

  std::uint64_t withheld = 0;  // moves that it did not start or finish

 private:
  [[nodiscard]] DmaSegment here(std::uint64_t bytes) const { return {buffer_.address(), bytes}; }
  bool move(DmaSegment from, DmaSegment to) {
    std::array<dma::CommandResult, 1> results;
    if (!channel_->submit({.from = {&from, 1}, .to = {&to, 1}, .tag = ++tag_})) return false;
    channel_->ring();
    base::Clock& clock = engine_->function().clock();
    const bool answered = base::wait_until(
        clock, clock.now() + 200ms, [&] { return channel_->poll(results).value_or(0) == 1 && results[0].tag == tag_; });
    // An honest engine without Bus Master Enable starts no request at all: no counter of the machine sees it.
    if (!answered) ++withheld;
    return answered && results[0].ok();
  }
  std::unique_ptr<dma::Engine> engine_;
  drivers::FunctionImporter real_;
  std::unique_ptr<dma::Channel> channel_;
  pci::DmaBuffer buffer_;
  std::uint64_t tag_ = 0;
};

INSTANTIATE_TEST_SUITE_P(OnDmaEngines, PeerContract,
                         testing::Values(machine_with_accelerator<MoveEngine>("switch", {}),
                                         machine_with_accelerator<MoveEngine>("acs_with_iommu", kAcsWithIommu),
                                         machine_with_accelerator<MoveEngine>("threaded_switch", threaded({})),
                                         machine_with_accelerator<MoveEngine>("threaded_acs_with_iommu",
                                                                              threaded(kAcsWithIommu))),
                         name_of_param);
INSTANTIATE_TEST_SUITE_P(OnDmaEngines, PeerContractGuarded,
                         testing::Values(machine_with_accelerator<MoveEngine>("acs_with_iommu", kAcsWithIommu),
                                         machine_with_accelerator<MoveEngine>("threaded_acs_with_iommu",
                                                                              threaded(kAcsWithIommu))),
                         name_of_param);

}  // namespace
}  // namespace barter::contract
