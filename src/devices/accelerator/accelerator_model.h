// The accelerator itself: registers on the host's side, channels on the step's side, and the memory between them.
#pragma once
#include <mutex>
#include <string>
#include <vector>

#include "devices/accelerator/accelerator.h"
#include "devices/accelerator/channel_job.h"
#include "devices/accelerator/links.h"
#include "devices/accelerator/memory_access.h"
#include "devices/accelerator/register_file.h"
#include "devices/anonymous_memory.h"
#include "devices/ring_device/stepper.h"

namespace barter::devices::accelerator {

class Accelerator final : public fabric::Device {
 public:
  Accelerator(fabric::FunctionIdentity identity, const FixedRegisters& fixed, AnonymousMemory memory,
              std::uint64_t bytes_per_step, std::uint64_t unit);

  const fabric::FunctionIdentity& identity() const override { return identity_; }
  void attach(fabric::Requester& requester) override;
  std::uint64_t read_register(unsigned bar, BarOffset at, unsigned width_bytes) override;
  void write_register(unsigned bar, BarOffset at, unsigned width_bytes, std::uint64_t value) override;
  std::vector<fabric::MemoryWindow> windows() override;
  bool step() override {
    return stepper_.step([this](bool becomes_ready) { follow_registers(becomes_ready); });
  }
  void reset() override;
  [[nodiscard]] LinkPorts& links() { return links_; }

 private:
  void record(std::string what);
  void follow_registers(bool becomes_ready);

  std::mutex violation_mutex_;
  const fabric::FunctionIdentity identity_;
  AnonymousMemory backing_;
  fabric::Requester* requester_ = nullptr;
  LinkPorts links_;  // the other ends may use backing_ until it is gone
  RegisterFile registers_;
  MemoryAccess memory_;
  ring_device::Stepper<ChannelJob> stepper_;
};

}  // namespace barter::devices::accelerator
