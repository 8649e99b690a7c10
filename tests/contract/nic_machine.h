// Two NICs below one switch, joined by a wire, and an accelerator on a root port of its own: our model below, our driver above.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <ranges>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "accelerator_machine.h"
#include "devices/nic/nic.h"
#include "drivers/nic/nic.h"

namespace barter::contract {

namespace nic = drivers::nic;

inline std::vector<std::byte> nic_pattern(std::size_t bytes, unsigned step = 7) {
  std::vector<std::byte> all(bytes);
  for (std::size_t at = 0; at < bytes; ++at) all[at] = static_cast<std::byte>(at * step + at / 251);
  return all;
}

struct NicWay {
  const char* name;
  fabric::Running running;
  IommuMode iommu;
};
inline constexpr NicWay kNicWays[] = {{"stepped", fabric::Running::stepped, IommuMode::off},
                                      {"stepped_iommu", fabric::Running::stepped, IommuMode::translate},
                                      {"threaded_iommu", fabric::Running::threaded, IommuMode::translate}};

class NicMachine : public AcceleratorMachine {
 public:
  NicMachine(fabric::Running running, IommuMode iommu, const devices::nic::NicSetup& setup)
      : NicMachine(running, iommu, setup, nullptr) {}
  [[nodiscard]] std::unique_ptr<nic::Nic> bring_up_nic(std::string_view name, nic::NicOptions options = {}) {
    auto made = nic::Nic::create(function(name), options);
    EXPECT_TRUE(made) << made.error().message();
    return made ? std::move(*made) : nullptr;
  }

 private:
  // `first` is the end that was made already.
  NicMachine(fabric::Running running, IommuMode iommu, const devices::nic::NicSetup& setup, fabric::Device* first)
      : AcceleratorMachine(description(iommu), {.running = running, .host_memory_bytes = std::uint64_t{256} << 20},
                           [&](std::string_view name) {
                             if (name == "c")
                               return devices::accelerator::create_accelerator({.memory_bytes = 32 << 20});
                             auto made = devices::nic::create_nic(setup);
                             EXPECT_TRUE(made) << made.error().message();
                             EXPECT_TRUE(first == nullptr || devices::nic::join(*first, **made));
                             first = made->get();
                             return made;
                           }) {}
  static topology::Description description(IommuMode iommu) {
    auto machine = fabric::one_switch();
    machine.iommu = iommu;
    machine.root_complexes[0].turns_reads = machine.root_complexes[0].turns_writes = true;
    return machine;
  }
};

// Both ends up, with pair 0 of each.
struct NicEnd {
  std::unique_ptr<nic::Nic> nic;
  std::unique_ptr<nic::Pair> pair;
  NicEnd(NicMachine& machine, std::string_view name, nic::NicOptions options = {})
      : nic(machine.bring_up_nic(name, options)) {
    auto made = nic->create_pair({.number = 0});
    EXPECT_TRUE(made) << made.error().message();
    pair = std::move(*made);
  }
  void go_down() {
    pair.reset();
    nic.reset();
  }
  [[nodiscard]] pci::DmaBuffer memory(std::uint64_t bytes) {
    auto made = nic->function().allocate_dma(bytes, pci::DmaUse::data);
    EXPECT_TRUE(made);
    return std::move(*made);
  }
};

class NicsOnModel : public testing::TestWithParam<NicWay> {
 protected:
  explicit NicsOnModel(const devices::nic::NicSetup& setup = {})
      : machine_(GetParam().running, GetParam().iommu, setup), here_(machine_, "a"), there_(machine_, "b") {}
  ~NicsOnModel() override { EXPECT_THAT(machine_.fabric->violations(), testing::IsEmpty()); }

  [[nodiscard]] base::Clock& clock() { return machine_.fabric->clock(); }
  [[nodiscard]] bool is_stepped() const { return GetParam().running == fabric::Running::stepped; }
  template <class Done>
  [[nodiscard]] bool wait(Done&& done) {
    return base::wait_until(clock(), clock().now() + std::chrono::seconds(60), done);
  }
  void post(nic::Channel& channel, const nic::Command& command) {
    const auto sent = channel.submit(command);
    EXPECT_TRUE(sent) << sent.error().message();
    channel.ring();
  }
  // The next that ends. Status 255 is trouble, which is reported.
  nic::CommandResult take(nic::Channel& channel) {
    std::array<nic::CommandResult, 1> results{nic::CommandResult{.status = 255}};
    EXPECT_TRUE(wait([&] {
      const auto count = channel.poll(results);
      EXPECT_TRUE(count) << count.error().message();
      return !count || *count == 1;
    }));
    return results[0];
  }
  nic::CommandResult run(nic::Channel& channel, const nic::Command& command) {
    post(channel, command);
    return take(channel);
  }
  // A region of the memory, at that end.
  nic::RemoteKey expose(NicEnd& end, std::span<const DmaSegment> memory, Access access) {
    const auto exposed =
        run(end.pair->sends(), {.opcode = nic::Opcode::expose, .memory = memory, .remote_access = access});
    EXPECT_TRUE(exposed.ok()) << nic::describe_status(exposed.status);
    return {static_cast<std::uint32_t>(exposed.value)};
  }
  // One message of 64 bytes each way: is all in order?
  void expect_messages() {
    for (const auto& [from, to] : {std::pair{&here_, &there_}, std::pair{&there_, &here_}}) {
      const auto out = from->memory(4096);
      const auto in = to->memory(4096);
      const DmaSegment what{out.address(), 64};
      const DmaSegment where{in.address(), 4096};
      std::ranges::copy(nic_pattern(64), out.bytes().begin());
      post(to->pair->receives(), {.opcode = nic::Opcode::receive, .memory = {&where, 1}});
      const auto sent = run(from->pair->sends(), {.memory = {&what, 1}});
      EXPECT_TRUE(sent.ok()) << nic::describe_status(sent.status);
      const auto received = take(to->pair->receives());
      EXPECT_TRUE(received.ok()) << nic::describe_status(received.status);
      EXPECT_EQ(received.value, 64u);
      EXPECT_TRUE(std::ranges::equal(in.bytes().first(64), nic_pattern(64)));
    }
  }
  // Neither end has anything of it yet.
  static constexpr DmaAddress kNowhere{0x7f00'0000'0000};

  NicMachine machine_;
  NicEnd here_;
  NicEnd there_;
};

}  // namespace barter::contract
