// A software machine of accelerators for the contract suites: each with our model below and our driver above.
#pragma once
#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "devices/accelerator/accelerator.h"
#include "drivers/accelerator/accelerator.h"
#include "fabric/fabric.h"
#include "fabric/test_machines.h"

namespace barter::contract {

namespace gpu = drivers::accelerator;

struct AcceleratorMachine {
  // What sits at the function of this name.
  using MakeDevice = std::function<Result<std::unique_ptr<fabric::Device>>(std::string_view name)>;

  // The functions "a" and "b" below one switch, and "c" on a root port of its own.
  AcceleratorMachine(const topology::Description& description, fabric::Options options,
                     const devices::accelerator::AcceleratorSetup& setup)
      : AcceleratorMachine(description, options,
                           [&](std::string_view) { return devices::accelerator::create_accelerator(setup); }) {}
  AcceleratorMachine(const topology::Description& description, fabric::Options options, const MakeDevice& make) {
    auto made = fabric::Fabric::create(description, options);
    if (!made) {
      ADD_FAILURE() << made.error().message();
      return;
    }
    fabric = std::move(*made);
    for (const auto& function : description.functions) {
      auto device = make(function.name);
      EXPECT_TRUE(device);
      EXPECT_TRUE(fabric->plug(function.name, std::move(*device)));
    }
    EXPECT_TRUE(fabric->enumerate());
  }
  [[nodiscard]] Bdf bdf(std::string_view name) const { return fabric->find(name).value(); }
  [[nodiscard]] std::unique_ptr<pci::Function> function(std::string_view name) {
    return fabric->function(bdf(name)).value();
  }
  [[nodiscard]] std::unique_ptr<gpu::Accelerator> bring_up(std::string_view name,
                                                           gpu::AcceleratorOptions options = {}) {
    auto made = gpu::Accelerator::create(function(name), options);
    EXPECT_TRUE(made) << made.error().message();
    return made ? std::move(*made) : nullptr;
  }

  std::unique_ptr<fabric::Fabric> fabric;
};

// Submits one command and waits for it. An empty answer is trouble, which is reported.
inline gpu::CommandResult do_command(base::Clock& clock, gpu::Channel& channel, const gpu::Command& command) {
  const auto submitted = channel.submit(command);
  EXPECT_TRUE(submitted) << submitted.error().message();
  channel.ring();
  std::array<gpu::CommandResult, 1> results{gpu::CommandResult{.status = 255}};
  EXPECT_TRUE(base::wait_until(clock, clock.now() + std::chrono::seconds(60), [&] {
    const auto count = channel.poll(results);
    EXPECT_TRUE(count) << count.error().message();
    return !count || *count == 1;
  }));
  return results[0];
}

}  // namespace barter::contract
