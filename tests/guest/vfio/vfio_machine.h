// What the tests in the guest share: the functions that its cases have bound to vfio-pci, and an NVMe drive of QEMU's as an
// engine that moves bytes where a test wants them.
//
// The program runs in the guest alone (cases.sh); BARTER_VFIO_FUNCTIONS names the functions, BARTER_FAULTS the file in which
// the kernel counts the faults of its IOMMU.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "barter/address.hpp"
#include "drivers/nvme/controller.h"
#include "linux/vfio/function.h"
#include "linux/vfio/host.h"
#include "pci/function.h"

namespace barter::guest {

// The functions that BARTER_VFIO_FUNCTIONS names. Ends the program with a message if there are fewer than two.
[[nodiscard]] const std::vector<Bdf>& vfio_functions();

// How often the guest's kernel has handled a fault of its IOMMU, once it has handled those that are under way.
[[nodiscard]] std::uint64_t kernel_faults();

// Somebody else's function, for a driver that wants one of its own. Interrupts stay the owner's business.
class BorrowedFunction final : public pci::Function {
 public:
  explicit BorrowedFunction(pci::Function& function) : function_(function) {}
  [[nodiscard]] Bdf bdf() const override { return function_.bdf(); }
  [[nodiscard]] base::Clock& clock() override { return function_.clock(); }
  [[nodiscard]] Result<std::uint32_t> read_config(std::uint16_t offset, unsigned width) override {
    return function_.read_config(offset, width);
  }
  [[nodiscard]] Result<void> write_config(std::uint16_t offset, unsigned width, std::uint32_t value) override {
    return function_.write_config(offset, width, value);
  }
  [[nodiscard]] Result<std::unique_ptr<pci::Mmio>> map_bar(unsigned index) override { return function_.map_bar(index); }
  [[nodiscard]] Result<pci::DmaBuffer> allocate_dma(std::uint64_t bytes, pci::DmaUse use) override {
    return function_.allocate_dma(bytes, use);
  }
  [[nodiscard]] Result<pci::DmaBuffer> share_dma(const pci::DmaBuffer& other) override {
    return function_.share_dma(other);
  }
  [[nodiscard]] Result<void> enable_interrupts(unsigned) override { return {}; }
  [[nodiscard]] bool take_interrupt(unsigned) override { return false; }
  [[nodiscard]] Result<void> reset() override { return function_.reset(); }

 private:
  pci::Function& function_;
};

// A drive that writes and reads where it is told: its first blocks are the go-between. Our own driver drives it.
class Engine {
 public:
  static constexpr unsigned kVectors = 3;

  explicit Engine(pci::Function& function) : function_(function) { (void)is_up(); }

  // Did all of it arrive? False if the drive says no, is silent, or the IOMMU has refused any of it.
  [[nodiscard]] bool writes(DmaAddress to, std::span<const std::byte> bytes);
  [[nodiscard]] bool reads(DmaAddress from, std::span<std::byte> bytes);
  void interrupts(unsigned vector);
  // Accesses that the IOMMU has refused. An access may be several requests, each a fault of its own to the kernel.
  [[nodiscard]] std::uint64_t refused() const { return refused_; }
  // The next access begins by bringing the drive up anew.
  void drop();

 private:
  [[nodiscard]] bool is_up();
  [[nodiscard]] bool move(drivers::nvme::Opcode opcode, std::span<const DmaSegment> segments, std::uint32_t blocks);
  [[nodiscard]] bool run(drivers::nvme::QueuePair& queue, const drivers::nvme::Command& command);
  [[nodiscard]] bool move_watched(drivers::nvme::Opcode opcode, DmaAddress at, std::uint64_t bytes);

  pci::Function& function_;
  std::optional<pci::DmaBuffer> scratch_;
  std::unique_ptr<drivers::nvme::Controller> controller_;
  std::unique_ptr<drivers::nvme::QueuePair> queue_;
  std::array<std::unique_ptr<drivers::nvme::QueuePair>, kVectors> vector_queues_;
  std::uint64_t refused_ = 0;
};

}  // namespace barter::guest
