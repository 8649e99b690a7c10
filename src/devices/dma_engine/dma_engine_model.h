// The engine itself: registers on the host's side, channels on the step's side.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "devices/dma_engine/channel.h"
#include "devices/dma_engine/dma_engine.h"
#include "devices/dma_engine/register_file.h"

namespace barter::devices::dma_engine {

class DmaEngine final : public fabric::Device {
 public:
  DmaEngine(fabric::FunctionIdentity identity, const FixedRegisters& fixed, std::uint64_t bytes_per_step);

  const fabric::FunctionIdentity& identity() const override { return identity_; }
  void attach(fabric::Requester& requester) override;
  std::uint64_t read_register(unsigned bar, BarOffset at, unsigned width_bytes) override;
  void write_register(unsigned bar, BarOffset at, unsigned width_bytes, std::uint64_t value) override;
  std::vector<fabric::MemoryWindow> windows() override { return {}; }
  bool step() override;
  void reset() override;

 private:
  void record(std::string what);
  void follow_registers();
  void clear();

  // Held by step() and reset(). Register accesses never take it, so a device that is being stepped can be spoken to.
  std::mutex step_mutex_;
  std::atomic<bool> is_resetting_ = false;  // a thread that steps all the time lets reset() in
  std::mutex violation_mutex_;
  const fabric::FunctionIdentity identity_;
  fabric::Requester* requester_ = nullptr;
  RegisterFile registers_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::size_t next_channel_ = 0;  // whose turn it is
  bool is_ready_ = false;
};

}  // namespace barter::devices::dma_engine
