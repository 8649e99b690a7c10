// The engine itself: registers on the host's side, channels on the step's side.
#pragma once
#include <mutex>
#include <string>
#include <vector>

#include "devices/dma_engine/dma_engine.h"
#include "devices/dma_engine/job.h"
#include "devices/dma_engine/register_file.h"
#include "devices/ring_device/stepper.h"

namespace barter::devices::dma_engine {

class DmaEngine final : public fabric::Device {
 public:
  DmaEngine(fabric::FunctionIdentity identity, const FixedRegisters& fixed, std::uint64_t bytes_per_step);

  const fabric::FunctionIdentity& identity() const override { return identity_; }
  void attach(fabric::Requester& requester) override { stepper_.attach(requester); }
  std::uint64_t read_register(unsigned bar, BarOffset at, unsigned width_bytes) override;
  void write_register(unsigned bar, BarOffset at, unsigned width_bytes, std::uint64_t value) override;
  std::vector<fabric::MemoryWindow> windows() override { return {}; }
  bool step() override {
    return stepper_.step([](bool) {});
  }
  void reset() override {
    stepper_.reset([] {});
  }

 private:
  void record(std::string what);

  std::mutex violation_mutex_;
  const fabric::FunctionIdentity identity_;
  RegisterFile registers_;
  ring_device::Stepper<Job> stepper_;
};

}  // namespace barter::devices::dma_engine
