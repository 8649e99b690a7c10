// What all parts of the driver share: the function, its registers, and how trouble is told.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "barter/result.hpp"
#include "base/clock.h"
#include "drivers/dma_engine/engine.h"
#include "drivers/dma_engine/registers.h"
#include "pci/function.h"

namespace barter::drivers::dma_engine {

struct Device {
  std::unique_ptr<pci::Function> function;
  std::unique_ptr<pci::Mmio> registers;  // goes before the function
  EngineOptions options;
  EngineFacts facts;
  std::string name;  // for messages: the BDF

  [[nodiscard]] base::Clock& clock() const { return function->clock(); }
  [[nodiscard]] Error error(ErrorCode code, std::string_view doing, std::string why, std::string cure = {}) const;
  // The engine has not done what it should have by now: is it gone, has it failed, or is it only late?
  [[nodiscard]] Error silence(std::string_view doing, std::string facts) const;
  template <class Done>
  [[nodiscard]] bool wait(Done&& done) const {
    return base::wait_until(clock(), clock().now() + options.ready_timeout, done);
  }
};

// bring_up.cc: each step checks what the engine says.
[[nodiscard]] Result<void> open_function(Device& device);
[[nodiscard]] Result<void> read_facts(Device& device);
[[nodiscard]] Result<void> reset(Device& device);
[[nodiscard]] Result<void> enable(Device& device);
// No DMA of it after this: disabled, or, if it doesn't answer, without Bus Master Enable.
void stop_dma(Device& device);

}  // namespace barter::drivers::dma_engine
