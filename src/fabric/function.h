// A driver's handle on one function of the software machine.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "fabric/node.h"
#include "pci/function.h"

namespace barter::fabric {

class System;

class SoftwareFunction final : public pci::Function {
 public:
  SoftwareFunction(System& system, Node& node) : system_(system), node_(node) {}
  ~SoftwareFunction() override;

  [[nodiscard]] Bdf bdf() const override { return *node_.bdf; }
  [[nodiscard]] base::Clock& clock() override;
  [[nodiscard]] Result<std::uint32_t> read_config(std::uint16_t offset, unsigned width_bytes) override;
  [[nodiscard]] Result<void> write_config(std::uint16_t offset, unsigned width_bytes, std::uint32_t value) override;
  [[nodiscard]] Result<std::unique_ptr<pci::Mmio>> map_bar(unsigned index) override;
  [[nodiscard]] Result<pci::DmaBuffer> allocate_dma(std::uint64_t bytes, pci::DmaUse use) override;
  [[nodiscard]] Result<pci::DmaBuffer> share_dma(const pci::DmaBuffer& other) override;
  [[nodiscard]] Result<void> enable_interrupts(unsigned count) override;
  [[nodiscard]] bool take_interrupt(unsigned vector) override;
  [[nodiscard]] Result<void> reset() override;

 private:
  void release_vectors();

  System& system_;
  Node& node_;
  std::vector<std::uint32_t> vectors_;  // the host's numbers for ours
};

}  // namespace barter::fabric
