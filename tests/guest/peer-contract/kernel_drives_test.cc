// The peer contract where Linux drives everything: memory that the kernel lends (p2pmem of one drive) or ordinary memory of this
// process, and two drives whose requests are I/O of this process. BARTER_PROVIDER is the function of the first, BARTER_CLIENTS those of the two and their block
// devices. What these hold is overwritten.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "linux/descriptor.h"
#include "linux/p2pdma/kernel_importer.h"
#include "linux/p2pdma/p2pmem_exporter.h"
#include "linux_route.h"
#include "peer/host_pages.h"
#include "peer_contract.h"

namespace barter::contract {
namespace {

using namespace barter::literals;
using linux_os::Descriptor;
using linux_os::KernelImporter;
using linux_os::P2pmemExporter;

constexpr CannotRun kLinuxCannot[] = {
    {"Point10_",
     "the addresses are this process's own, and the kernel makes the DMA addresses behind them: there is no domain of "
     "ours "
     "that an importer could be outside of, and what the process can reach, its I/O can (docs/peer-contract.md)"},
};

constexpr CannotRun kHostPagesCannot[] = {
    {"Point10_", kLinuxCannot[0].why},
    {"Point1_",
     "nobody is asked for ordinary memory of the process: whoever was given the pointer was given the memory"},
    {"Point4_mapping_made_while_the_owner_takes_back", "nobody is asked for ordinary memory of the process"},
    {"Point4_memory_taken_back_between_two_parts", "nobody is asked for ordinary memory of the process"},
    {"Point9_a_passing_refusal", "nobody refuses ordinary memory of the process"},
};

struct FreeAligned {
  void operator()(std::byte* memory) const { ::operator delete[](memory, std::align_val_t{4096}); }
};
using Pages = std::unique_ptr<std::byte[], FreeAligned>;
Pages make_pages(std::size_t bytes) { return Pages(new (std::align_val_t{4096}) std::byte[bytes]()); }

std::byte* pointer(DmaAddress address) { return reinterpret_cast<std::byte*>(address.value); }

// A drive that moves whole blocks: its first ones are what it does that with. What is asked for beyond whole blocks is moved as
// it was.
class KernelDrive final : public ScriptedImporter {
 public:
  static constexpr std::size_t kBlockBytes = 512;
  static constexpr std::size_t kBufferBytes = 64 << 10;

  KernelDrive(Bdf function, const std::string& block, base::Clock& clock)
      : ScriptedImporter(function),
        real_(function, clock),
        file_(::open(block.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC)),
        buffer_(make_pages(kBufferBytes)) {
    EXPECT_TRUE(file_.is_open()) << block;
  }
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] Result<void> isolate() override { return real_.isolate(); }

  // `behind` is what the CPU sees there, as far as that is memory.
  [[nodiscard]] bool write(DmaAddress to, std::span<const std::byte> bytes, std::span<const std::byte> behind) {
    const std::size_t whole = whole_blocks(bytes.size());
    std::fill_n(buffer_.get(), whole, std::byte{});
    std::copy_n(behind.begin(), std::min(whole, behind.size()), buffer_.get());
    std::ranges::copy(bytes, buffer_.get());
    return take(buffer_.get(), whole) && by_peer([&] { return fill(pointer(to), whole); });
  }
  [[nodiscard]] bool read(DmaAddress from, std::span<std::byte> bytes) {
    const std::size_t whole = whole_blocks(bytes.size());
    if (!by_peer([&] { return take(pointer(from), whole); }) || !fill(buffer_.get(), whole)) return false;
    std::copy_n(buffer_.get(), bytes.size(), bytes.begin());
    return true;
  }
  // I/O to memory of a peer, as those who start it must: not any more once the importer is isolated.
  template <class Work>
  [[nodiscard]] bool by_peer(Work work) {
    const bool done = real_.begin() && [&] {
      const bool moved = work();
      real_.end();
      return moved;
    }();
    if (!done) ++refused_;
    return done;
  }
  // The drive writes to memory, or reads from it.
  [[nodiscard]] bool fill(std::byte* memory, std::size_t bytes) const {
    return pread(file_.number(), memory, bytes, 0) == static_cast<ssize_t>(bytes);
  }
  [[nodiscard]] bool take(const std::byte* memory, std::size_t bytes) const {
    return pwrite(file_.number(), memory, bytes, 0) == static_cast<ssize_t>(bytes);
  }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }
  [[nodiscard]] static std::size_t whole_blocks(std::size_t bytes) { return bytes + (-bytes % kBlockBytes); }

 private:
  KernelImporter real_;
  Descriptor file_;
  Pages buffer_;
  std::uint64_t refused_ = 0;
};

enum class MemoryOf : std::uint8_t { peer, process };

class MachineOfTheKernel final : public PeerMachine {
 public:
  explicit MachineOfTheKernel(MemoryOf memory)
      : exchange_(std::make_unique<peer::Exchange>(
            clock_, [rule = guest::route_rule(guest::Rule::of_linux)](Bdf client, Bdf provider) {
              if (provider == peer::kHostMemory)
                return peer::RouteAnswer{.read = Route::through_host_bridge, .write = Route::through_host_bridge};
              return rule(client, provider);
            })) {
    if (memory == MemoryOf::peer)
      open_memory(guest::told("BARTER_PROVIDER"));
    else
      make_memory();
    EXPECT_TRUE(exchange_->add(exporter()));
    std::istringstream clients(guest::told("BARTER_CLIENTS"));
    for (auto& drive : drives_) {
      std::string function;
      std::string block;
      EXPECT_TRUE(clients >> function >> block) << "BARTER_CLIENTS names two drives, each as FUNCTION BLOCK";
      drive = std::make_unique<KernelDrive>(*Bdf::parse(function), block, clock_);
      EXPECT_TRUE(exchange_->add(*drive));
    }
  }

  peer::Exchange& exchange() override { return *exchange_; }
  void end_exchange() override { exchange_.reset(); }
  peer::Exporter& exporter() override { return lent_ ? static_cast<peer::Exporter&>(*lent_) : *host_pages_; }
  peer::OwnedExporter* owner() override { return lent_.get(); }
  KernelDrive& importer(unsigned index) override { return *drives_[index]; }
  bool write(unsigned index, DmaAddress to, std::span<const std::byte> bytes) override {
    const MemoryRange range{to.value - start(), KernelDrive::whole_blocks(bytes.size())};
    return importer(index).write(to, bytes, view(range));
  }
  bool read(unsigned index, DmaAddress from, std::span<std::byte> bytes) override {
    return importer(index).read(from, bytes);
  }
  [[nodiscard]] std::uint64_t refused_requests() const override {
    return drives_[0]->refused() + drives_[1]->refused();
  }
  [[nodiscard]] std::vector<std::byte> contents(MemoryRange range) const override {
    const auto part = view(range);
    return {part.begin(), part.end()};
  }
  [[nodiscard]] Route expected_route() const override {
    return lent_ ? guest::expected_route() : Route::through_host_bridge;
  }
  [[nodiscard]] bool guarded() const override { return false; }

 private:
  static constexpr std::uint64_t kProcessBytes = 256_KiB;

  void open_memory(const std::string& provider) {
    auto memory = P2pmemExporter::open("/sys/bus/pci/devices/" + provider, *Bdf::parse(provider));
    EXPECT_TRUE(memory) << memory.error().message();
    lent_ = std::move(*memory);
  }
  void make_memory() {
    pages_ = make_pages(kProcessBytes);
    const auto start = reinterpret_cast<std::uintptr_t>(pages_.get());
    host_pages_ = std::make_unique<peer::HostPages>(std::span(pages_.get(), kProcessBytes),
                                                    peer::HostPlace{.address = {start}, .is_known_by_pointer = true});
  }
  [[nodiscard]] std::uint64_t start() const {
    return (lent_ ? lent_->bus_address() : host_pages_->bus_address()).value;
  }
  [[nodiscard]] std::span<std::byte> view(MemoryRange range) const {
    if (lent_) return lent_->cpu_bytes(range);
    return MemoryRange{0, kProcessBytes}.contains(range) ? host_pages_->cpu_bytes(range) : std::span<std::byte>{};
  }

  base::SystemClock clock_;
  std::unique_ptr<P2pmemExporter> lent_;  // one of the two
  Pages pages_;
  std::unique_ptr<peer::HostPages> host_pages_;
  std::unique_ptr<KernelDrive> drives_[2];
  std::unique_ptr<peer::Exchange> exchange_;
};

PeerMachineParam kernel_drives(std::string name, MemoryOf memory, std::span<const CannotRun> cannot_run) {
  return {.name = std::move(name),
          .create = [memory] { return std::make_unique<MachineOfTheKernel>(memory); },
          .cannot_run = cannot_run};
}
const auto kMachines =
    testing::Values(kernel_drives("kernel_drives_to_p2pmem", MemoryOf::peer, kLinuxCannot),
                    kernel_drives("kernel_drives_to_host_pages", MemoryOf::process, kHostPagesCannot));

INSTANTIATE_TEST_SUITE_P(OnLinux, PeerContract, kMachines, name_of_param);
INSTANTIATE_TEST_SUITE_P(OnLinux, PeerContractGuarded, kMachines, name_of_param);

TEST(PeerOnLinux, WhatItCannotRunAreTests) {
  check_names(kLinuxCannot);
  check_names(kHostPagesCannot);
}

// Point 4 as Linux has it: I/O that was started can't be cut off in the middle. revoke() waits for it beyond its deadline, and
// only then is the memory the owner's again.
TEST(PeerOnLinux, Point4_io_that_was_started_is_waited_for) {
  MachineOfTheKernel machine(MemoryOf::peer);
  auto region = machine.exchange().allocate(machine.exporter(), 1_MiB);
  ASSERT_TRUE(region) << region.error().message();
  auto mapping = machine.exchange().map(machine.importer(0), *region);
  ASSERT_TRUE(mapping) << mapping.error().message();
  auto lease = mapping->lease();
  ASSERT_TRUE(lease);
  std::byte* const memory = pointer(start_of(*lease));
  machine.set_letting_go(0, LettingGo::never);
  machine.hold(0, std::move(*lease));
  constexpr int kTimes = 16;
  std::atomic<bool> started = false;
  std::atomic<int> done = 0;
  std::jthread io([&] {
    EXPECT_TRUE(machine.importer(0).by_peer([&] {
      started = true;
      for (; done < kTimes; ++done)
        if (!machine.importer(0).fill(memory, 256_KiB)) return false;
      return true;
    }));
  });
  while (!started) std::this_thread::yield();
  const auto report = region->revoke({.deadline = 1ms});
  EXPECT_EQ(done, kTimes) << "it returned while I/O was under way";
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_THAT(report->late, testing::ElementsAre(machine.importer(0).function()));
  EXPECT_FALSE(machine.write(0, {reinterpret_cast<std::uintptr_t>(memory)}, pattern(512, 1))) << "and no more of it";
}

}  // namespace
}  // namespace barter::contract
