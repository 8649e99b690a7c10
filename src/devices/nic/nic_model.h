// The NIC itself: registers on the host's side, channels and the responder on the step's side, and the wire to the other one.
#pragma once
#include <mutex>
#include <string>
#include <vector>

#include "devices/nic/job.h"
#include "devices/nic/keys.h"
#include "devices/nic/nic.h"
#include "devices/nic/register_file.h"
#include "devices/nic/responder.h"
#include "devices/nic/wire.h"
#include "devices/ring_device/stepper.h"

namespace barter::devices::nic {

class Nic final : public fabric::Device {
 public:
  Nic(fabric::FunctionIdentity identity, const FixedRegisters& fixed, std::uint64_t bytes_per_step);

  const fabric::FunctionIdentity& identity() const override { return identity_; }
  void attach(fabric::Requester& requester) override;
  std::uint64_t read_register(unsigned bar, BarOffset at, unsigned width_bytes) override;
  void write_register(unsigned bar, BarOffset at, unsigned width_bytes, std::uint64_t value) override;
  std::vector<fabric::MemoryWindow> windows() override { return {}; }
  bool step() override;
  void reset() override;
  [[nodiscard]] Port& port() { return port_; }

 private:
  void record(std::string what);
  void follow(bool becomes_ready);
  void stop();

  std::mutex violation_mutex_;
  const fabric::FunctionIdentity identity_;
  Port port_;
  Keys keys_;
  RegisterFile registers_;
  Responder responder_;
  ring_device::Stepper<Job> stepper_;
  bool is_ready_ = false;  // the step's
};

}  // namespace barter::devices::nic
