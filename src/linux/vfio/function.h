// A PCI function behind VFIO, as its driver sees it (pci/function.h). The contract suite runs on it in the guest.
//
// Differences from a function on the bus, all of them VFIO's: the BARs and the Command register in config space are the
// kernel's copy; a function without a reset of its own can't be reset.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "linux/vfio/bar_memory.h"
#include "linux/vfio/group.h"
#include "linux/vfio/host.h"
#include "linux/vfio/interrupts.h"
#include "linux/vfio/region_info.h"
#include "linux/vfio/removal_request.h"
#include "pci/function.h"

namespace barter::linux_os::vfio {

class VfioFunction final : public pci::Function {
 public:
  // Host::open calls it.
  [[nodiscard]] static Result<std::unique_ptr<VfioFunction>> open(std::shared_ptr<Host> host,
                                                                  std::shared_ptr<Group> group, Bdf function);
  ~VfioFunction() override;
  VfioFunction(const VfioFunction&) = delete;
  VfioFunction& operator=(const VfioFunction&) = delete;

  [[nodiscard]] Bdf bdf() const override { return bdf_; }
  [[nodiscard]] base::Clock& clock() override { return host_->clock(); }
  [[nodiscard]] Result<std::uint32_t> read_config(std::uint16_t offset, unsigned width_bytes) override;
  [[nodiscard]] Result<void> write_config(std::uint16_t offset, unsigned width_bytes, std::uint32_t value) override;
  [[nodiscard]] Result<std::unique_ptr<pci::Mmio>> map_bar(unsigned index) override;
  [[nodiscard]] Result<pci::DmaBuffer> allocate_dma(std::uint64_t bytes, pci::DmaUse use) override;
  [[nodiscard]] Result<pci::DmaBuffer> share_dma(const pci::DmaBuffer& other) override;
  [[nodiscard]] Result<void> enable_interrupts(unsigned count) override { return interrupts_.enable(count); }
  [[nodiscard]] bool take_interrupt(unsigned vector) override { return interrupts_.take(vector); }
  [[nodiscard]] Result<void> reset() override;

  [[nodiscard]] bool is_wanted_back() const override { return is_wanted_back_; }
  // Looks whether the kernel asks for the function back. If so, its memory is taken back from the peers, on this thread, as
  // below; the function itself works on until it is closed, and only then does the kernel go on.
  void heed_removal_request();

  // From now on share_dma takes any memory of this process, as the kernel does: for a machine that mixes functions driven from
  // here with drives of the kernel's.
  void accept_memory_of_this_process() { accepts_any_memory_ = true; }

  // Called before the memory of the function's BARs goes away: before it is turned off, before a reset, and when the kernel
  // asks for the function back.
  // Whoever has exported it takes it back here, so that no peer's DMA meets memory that doesn't answer. On the thread that
  // is about to do it; it must not call back into this object.
  void on_memory_leaving(std::function<void()> callback);

  [[nodiscard]] const std::shared_ptr<const Descriptor>& device() const { return device_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::shared_ptr<Host>& host() const { return host_; }

 private:
  static constexpr unsigned kBars = 6;

  VfioFunction(std::shared_ptr<Host> host, std::shared_ptr<Group> group, std::shared_ptr<const Descriptor> device,
               Bdf function);
  [[nodiscard]] Result<void> look_around();
  [[nodiscard]] Result<void> check_access(const char* doing, std::uint16_t offset, unsigned width_bytes) const;
  [[nodiscard]] Result<void> write_raw(std::uint16_t offset, unsigned width_bytes, std::uint32_t value);
  [[nodiscard]] Result<std::shared_ptr<BarMemory>> bar(unsigned index);
  [[nodiscard]] Result<void> show_memory();
  void memory_leaves();

  std::shared_ptr<Host> host_;
  std::shared_ptr<Group> group_;  // outlives the device
  std::shared_ptr<const Descriptor> device_;
  Bdf bdf_;
  std::string name_;
  RegionInfo config_;
  bool can_reset_ = false;
  bool memory_is_on_ = false;
  bool accepts_any_memory_ = false;
  std::atomic<bool> is_wanted_back_ = false;
  std::array<BusAddress, kBars> addresses_{};
  std::array<std::weak_ptr<BarMemory>, kBars> bars_;
  Interrupts interrupts_;
  std::optional<RemovalRequest> removal_request_;
  std::function<void()> on_memory_leaving_;
};

}  // namespace barter::linux_os::vfio
