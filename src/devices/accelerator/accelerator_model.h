// The accelerator itself: registers on the host's side, channels on the step's side, and the memory between them.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "devices/accelerator/accelerator.h"
#include "devices/accelerator/channel.h"
#include "devices/accelerator/links.h"
#include "devices/accelerator/memory_access.h"
#include "devices/accelerator/register_file.h"
#include "devices/anonymous_memory.h"

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
  bool step() override;
  void reset() override;
  [[nodiscard]] LinkPorts& links() { return links_; }

 private:
  void record(std::string what);
  void follow_registers();

  // Held by step() and reset(). Register accesses never take it, so a device that is being stepped can be spoken to.
  std::mutex step_mutex_;
  std::atomic<bool> is_resetting_ = false;  // a thread that steps all the time lets reset() in
  std::mutex violation_mutex_;
  const fabric::FunctionIdentity identity_;
  AnonymousMemory backing_;
  fabric::Requester* requester_ = nullptr;
  LinkPorts links_;  // the other ends may use backing_ until it is gone
  RegisterFile registers_;
  MemoryAccess memory_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::size_t next_channel_ = 0;  // whose turn it is
  bool is_ready_ = false;
};

}  // namespace barter::devices::accelerator
