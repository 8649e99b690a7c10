// Two NICs in one threaded machine, with a wire between them: what the machine takes from one of them, the other one sees.
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "devices/nic/nic.h"
#include "devices/nic/test_host.h"
#include "fabric/fabric.h"
#include "topology/description.h"

namespace barter::devices::nic {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kSend = 0x01, kReceive = 0x10;
constexpr std::uint32_t kBytes = 1 << 20;

topology::Description two_ports() {
  topology::Description machine;
  machine.name = "two-ports";
  machine.root_complexes = {{.name = "rc0", .host_bridge_device = 0x29c0}};
  for (const std::string number : {"0", "1"}) {
    machine.root_ports.push_back({{.name = "rp" + number, .vendor_id = 0x1b36, .device_id = 0x000c}, "rc0"});
    machine.functions.push_back({.name = "nic" + number,
                                 .below = "rp" + number,
                                 .vendor_id = 0x1b36,
                                 .device_id = 0xba02,
                                 .class_code = 0x028000});
  }
  return machine;
}

// A driver of 60 lines, for channels 0 and 1.
class Driven {
 public:
  Driven(fabric::Fabric& machine, const std::string& name)
      : bdf(machine.find(name).value()),
        clock_(machine.clock()),
        function_(machine.function(bdf).value()),
        registers_(function_->map_bar(0).value()),
        rings_(function_->allocate_dma(16384, pci::DmaUse::control).value()),
        data_(function_->allocate_dma(kBytes, pci::DmaUse::data).value()) {}

  void start() {
    registers_->store32({0x18}, 1);
    EXPECT_TRUE(wait([&] { return registers_->load32({0x1c}) == 1; }));
    std::memset(rings_.bytes().data(), 0, rings_.bytes().size());
    for (std::uint64_t channel = 0; channel < 2; ++channel) {
      const std::uint64_t at = 0x1000 + channel * 0x40;
      registers_->store64({at}, rings_.address().value + channel * 8192);
      registers_->store64({at + 8}, rings_.address().value + channel * 8192 + 4096);
      registers_->store32({at + 0x10}, 5);
      registers_->store32({at + 0x14}, 1);
      EXPECT_TRUE(wait([&] { return registers_->load32({at + 0x18}) == 1; }));
      tails_[channel] = heads_[channel] = 0;
    }
  }
  void push(std::size_t channel, std::uint32_t word) {
    const Command command{.word = word, .address = data_.address().value, .bytes = kBytes};
    std::memcpy(rings_.bytes().data() + channel * 8192 + tails_[channel] * 64, &command, sizeof command);
    registers_->store32({0x101c + channel * 0x40}, ++tails_[channel]);
  }
  // Of the next completion, when it is there; 255: it does not come.
  unsigned status(std::size_t channel) {
    auto* const word =
        reinterpret_cast<std::uint32_t*>(rings_.bytes().data() + channel * 8192 + 4096 + heads_[channel]++ * 16 + 12);
    std::uint32_t seen = 0;
    const bool is_there = wait([&] {
      seen = std::atomic_ref(*word).load(std::memory_order_acquire);
      return seen != 0;
    });
    return is_there ? seen >> 16 & 0xff : 255;
  }
  bool is_up() { return registers_->load32({0x24}) == 1; }
  std::span<std::byte> data() { return data_.bytes(); }
  std::uint64_t moved(std::uint64_t channel) { return registers_->load64({0x1028 + channel * 0x40}); }
  template <class Done>
  bool wait(Done&& done) {
    return base::wait_until(clock_, clock_.now() + 20s, done);
  }

  const Bdf bdf;

 private:
  base::Clock& clock_;
  std::unique_ptr<pci::Function> function_;
  std::unique_ptr<pci::Mmio> registers_;
  pci::DmaBuffer rings_;
  pci::DmaBuffer data_;
  std::array<std::uint32_t, 2> tails_{}, heads_{};
};

TEST(NicMachine, WhatTheMachineTakesFromOneEndTheOtherOneSees) {
  auto machine =
      fabric::Fabric::create(two_ports(), {.running = fabric::Running::threaded, .host_memory_bytes = 64 << 20})
          .value();
  auto one = create_nic({.bytes_per_step = 4096}).value();
  auto other = create_nic({}).value();
  ASSERT_TRUE(join(*one, *other));
  ASSERT_TRUE(machine->plug("nic0", std::move(one)));
  ASSERT_TRUE(machine->plug("nic1", std::move(other)));
  ASSERT_TRUE(machine->enumerate());
  Driven here(*machine, "nic0"), there(*machine, "nic1");
  here.start();
  there.start();
  EXPECT_TRUE(here.is_up());
  for (std::size_t at = 0; at < kBytes; ++at) here.data()[at] = static_cast<std::byte>(at * 7 + at / 251);
  there.push(1, kReceive);
  here.push(0, kSend);
  EXPECT_EQ(here.status(0), 0u);
  EXPECT_EQ(there.status(1), 0u);
  EXPECT_EQ(std::memcmp(here.data().data(), there.data().data(), kBytes), 0);

  // Bus mastering is taken from the end that receives, and given back.
  there.push(1, kReceive);
  here.push(0, kSend);
  EXPECT_TRUE(here.wait([&] { return there.moved(1) > kBytes; }));
  machine->set_bus_master(there.bdf, false);
  EXPECT_FALSE(here.is_up());
  const unsigned sent = here.status(0);
  EXPECT_TRUE(sent == 7 || sent == 0) << sent;
  machine->set_bus_master(there.bdf, true);
  EXPECT_TRUE(here.is_up());
  const unsigned received = there.status(1);
  EXPECT_TRUE(received == 7 || received == 0) << received;

  // It is pulled out: it is stepped no more, and takes nothing back.
  there.push(1, kReceive);
  here.push(0, kSend);
  machine->remove(there.bdf);
  EXPECT_FALSE(here.is_up());
  const unsigned last = here.status(0);
  EXPECT_TRUE(last == 7 || last == 0) << last;
  here.push(0, kSend);
  EXPECT_EQ(here.status(0), 7u);
  // And comes back as after power-on.
  machine->put_back(there.bdf);
  machine->set_bus_master(there.bdf, true);
  EXPECT_FALSE(here.is_up());
  EXPECT_TRUE(machine->violations().empty());
}

}  // namespace
}  // namespace barter::devices::nic
