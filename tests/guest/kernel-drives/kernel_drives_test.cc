// Contracts and promises of what Linux gives, in a guest: SOURCE and DESTINATION are block devices, PROVIDER and CLIENT the
// functions behind them; the source's memory is published. What they hold is overwritten.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/copy.hpp"
#include "barter/machine.hpp"
#include "dma_domain_contract.h"
#include "exporter_contract.h"
#include "forked_child.h"
#include "importer_contract.h"
#include "linux/descriptor.h"
#include "linux/p2pdma/kernel_importer.h"
#include "linux/p2pdma/p2pmem_exporter.h"
#include "linux/uring/file_queue.h"

namespace barter {
namespace {

using linux_os::Descriptor;
using linux_os::KernelImporter;
using linux_os::P2pmemExporter;
using ::testing::HasSubstr;

constexpr std::size_t kBlock = 512;

std::string setting(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

Bdf function(const char* name) { return *Bdf::parse(setting(name)); }

std::unique_ptr<P2pmemExporter> provider_memory() {
  auto memory = P2pmemExporter::open("/sys/bus/pci/devices/" + setting("PROVIDER"), function("PROVIDER"));
  EXPECT_TRUE(memory) << memory.error().message();
  return memory ? std::move(*memory) : nullptr;
}

std::byte* pointer(DmaAddress address) { return reinterpret_cast<std::byte*>(address.value); }

// A drive that reads and writes memory: its last block is what it does that with.
class Device {
 public:
  explicit Device(const std::string& block) : file_(open(block.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC)) {
    EXPECT_TRUE(file_.is_open()) << block;
    end_ = lseek(file_.number(), 0, SEEK_END) - static_cast<off_t>(kBlock);
  }
  [[nodiscard]] bool fill(std::byte* memory) const { return pread(file_.number(), memory, kBlock, end_) == kBlock; }
  [[nodiscard]] bool take(const std::byte* memory) const {
    return pwrite(file_.number(), memory, kBlock, end_) == kBlock;
  }

 private:
  Descriptor file_;
  off_t end_ = 0;
};

TEST(P2pmem, KeepsTheContractOfExporters) {
  const auto memory = provider_memory();
  ASSERT_TRUE(memory);
  contract::check_exporter(*memory);
  ASSERT_TRUE(memory->acquire({0, memory->size_bytes()}));
  contract::check_exporter(*memory);
  memory->release({0, memory->size_bytes()});
}

TEST(P2pmem, TakesFromThePoolWhatIsAskedForAndGivesItBack) {
  const auto memory = provider_memory();
  ASSERT_TRUE(memory);
  const auto available = [] {
    return (*linux_os::read_p2pmem("/sys/bus/pci/devices/" + setting("PROVIDER")))->available_bytes;
  };
  const std::uint64_t before = available();
  ASSERT_EQ(before, memory->size_bytes()) << "somebody else uses it";
  ASSERT_TRUE(memory->acquire({1 << 20, 1 << 20}));
  EXPECT_EQ(available(), before - (1 << 20));
  const auto chunk = memory->cpu_bytes({1 << 20, 1 << 20});
  ASSERT_EQ(chunk.size(), 1u << 20);
  chunk[12345] = std::byte{0x77};
  EXPECT_EQ(chunk[12345], std::byte{0x77});
  const auto second = provider_memory();
  const auto too_much = second->acquire({0, before});
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, ErrorCode::exhausted);
  EXPECT_THAT(too_much.error().message(), HasSubstr("bytes are free"));
  memory->release({1 << 20, 1 << 20});
  EXPECT_EQ(available(), before);
  EXPECT_TRUE(second->acquire({0, before}));
}

// It would keep what its parent gives back, and could go on writing to it.
TEST(P2pmem, AChildOfForkDoesNotKeepIt) {
  const auto memory = provider_memory();
  ASSERT_TRUE(memory);
  ASSERT_TRUE(memory->acquire({0, 1 << 20}));
  EXPECT_FALSE(contract::is_mapped_in_child(memory->cpu_bytes({0, 1 << 20})));
  std::vector<std::byte> ordinary(8192);
  EXPECT_TRUE(contract::is_mapped_in_child(ordinary)) << "as everything else";
  memory->release({0, 1 << 20});
}

// After release nothing can be started; what is there instead is nothing.
TEST(P2pmem, ADriveCanNotReachWhatWasGivenBack) {
  const auto memory = provider_memory();
  const Device drive(setting("DESTINATION"));
  ASSERT_TRUE(memory->acquire({0, 4096}));
  std::byte* const at = memory->cpu_bytes({0, 4096}).data();
  EXPECT_TRUE(drive.fill(at));
  memory->release({0, 4096});
  EXPECT_FALSE(drive.fill(at));
  EXPECT_FALSE(drive.take(at));
}

class PeerMemoryOfTheKernel {
 public:
  PeerMemoryOfTheKernel() : memory_(provider_memory()), drive_(setting("DESTINATION")) {
    EXPECT_TRUE(memory_->acquire({0, 65536}));
  }
  peer::DmaDomain& domain() { return domain_; }
  BusAddress target() { return memory_->bus_address(); }
  std::span<std::byte> memory() { return memory_->cpu_bytes({0, 65536}); }
  // A drive moves whole blocks: what lies behind the bytes is written as it was.
  bool device_writes(DmaAddress to, std::span<std::byte> bytes) {
    std::memcpy(block(), pointer(to), kBlock);
    std::ranges::copy(bytes, block());
    return drive_.take(block()) && drive_.fill(pointer(to));
  }
  bool device_reads(DmaAddress from, std::span<std::byte> bytes) {
    if (!drive_.take(pointer(from)) || !drive_.fill(block())) return false;
    std::copy_n(block(), bytes.size(), bytes.begin());
    return true;
  }
  std::uint64_t faults() { return 0; }

 private:
  std::byte* block() { return block_.data(); }
  std::unique_ptr<P2pmemExporter> memory_;
  Device drive_;
  linux_os::PointerDomain domain_;
  alignas(kBlock) std::array<std::byte, kBlock> block_{};
};

}  // namespace

namespace peer {
INSTANTIATE_TYPED_TEST_SUITE_P(Kernel, DmaDomainContract, PeerMemoryOfTheKernel);
}  // namespace peer

namespace {

TEST(KernelImporter, KeepsTheContractOfImporters) {
  const auto memory = provider_memory();
  ASSERT_TRUE(memory->acquire({0, 4096}));
  const Device drive(setting("DESTINATION"));
  base::SystemClock clock;
  KernelImporter importer(function("CLIENT"), clock);
  contract::check_importer(importer, memory->bus_address(), [&](DmaAddress address) {
    if (!importer.begin()) return false;
    const bool reached = drive.fill(pointer(address));
    importer.end();
    return reached;
  });
}

TEST(FileQueue, RegistersHostMemoryAndNotThatOfPeers) {
  const auto memory = provider_memory();
  ASSERT_TRUE(memory->acquire({0, 65536}));
  const auto chunk = memory->cpu_bytes({0, 65536});
  const Descriptor file(open(setting("DESTINATION").c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  auto signal = linux_os::CompletionSignal::create();
  auto queue = linux_os::FileQueue::create(file.number(), *signal, {});
  ASSERT_TRUE(queue) << queue.error().message();
  EXPECT_EQ((*queue)->grants(), "registered file, registered buffers, deferred completions");
  EXPECT_FALSE((*queue)->add_buffer(chunk)) << "if the kernel takes it by now, the comment in file_queue.h is old";
  std::vector<std::byte> host(65536);
  EXPECT_TRUE((*queue)->add_buffer(host));
  const DmaSegment piece{{reinterpret_cast<std::uintptr_t>(chunk.data())}, chunk.size()};
  ASSERT_TRUE((*queue)->submit({.memory = {&piece, 1}, .at_least = chunk.size()}));
  (*queue)->ring();
  std::array<linux_os::FileOutcome, 1> outcome;
  while (*(*queue)->poll(outcome) == 0) signal->wait(std::chrono::milliseconds(10));
  EXPECT_EQ(outcome[0].status, 0) << linux_os::describe_file_status(outcome[0].status);
}

void fill_with_random(const std::string& block, std::size_t bytes) {
  const Descriptor random(open("/dev/urandom", O_RDONLY | O_CLOEXEC));
  const Descriptor file(open(block.c_str(), O_WRONLY | O_CLOEXEC));
  std::vector<char> some(1 << 20);
  for (std::size_t at = 0; at < bytes; at += some.size()) {
    ASSERT_EQ(read(random.number(), some.data(), some.size()), static_cast<ssize_t>(some.size()));
    ASSERT_EQ(write(file.number(), some.data(), some.size()), static_cast<ssize_t>(some.size()));
  }
  ASSERT_EQ(fsync(file.number()), 0);
}

// The owner takes its memory back while a copy goes through it: the copy ends by way of host memory, with the same bytes.
TEST(Machine, MemoryTakenBackInMidCopy) {
  constexpr std::size_t kBytes = 32 << 20;
  fill_with_random(setting("SOURCE"), kBytes);
  const auto machine = Machine::open("host");
  ASSERT_TRUE(machine) << machine.error().message();
  auto provider = machine->provider(setting("PROVIDER"));
  ASSERT_TRUE(provider) << provider.error().message();
  int taken_back = 0;
  CopyOptions options{.queue_depth = 8, .chunk_bytes = 256 << 10, .verify = true};
  options.progress = [&](CopyProgress progress) {
    if (taken_back > 0 || progress.done_bytes < kBytes / 2) return;
    ++taken_back;
    const auto report = provider->take_back({.deadline = std::chrono::seconds(20)});
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_TRUE(report->late.empty());
  };
  const auto report =
      copy(Extent(*machine->drive(setting("SOURCE")), 0, kBytes), machine->drive(setting("DESTINATION")), options);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(taken_back, 1);
  EXPECT_EQ(report->route, CopyRoute::peer);
  ASSERT_FALSE(report->fallbacks.empty());
  EXPECT_EQ(report->fallbacks.front().code, "revoked");
  EXPECT_EQ(report->verified, true);
}

// Told that the processor is another one, Barter tries what the kernel refuses.
TEST(WrongVerdict, TheKernelsRefusalIsExplainedAndTheCopyGoesOn) {
  constexpr std::size_t kBytes = 8 << 20;
  fill_with_random(setting("SOURCE"), kBytes);
  const auto machine = Machine::open("host", {.cpu = CpuInfo{.vendor = "AuthenticAMD", .family = 25}});
  ASSERT_TRUE(machine) << machine.error().message();
  const auto source = [&] { return Extent(*machine->drive(setting("SOURCE")), 0, kBytes); };
  const auto destination = [&] { return machine->drive(setting("DESTINATION")); };
  const auto refused = copy(source(), destination(), {.policy = P2p::required});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("writing to"));
  EXPECT_THAT(refused.error().message(), HasSubstr("barter why " + setting("CLIENT") + " " + setting("PROVIDER")));
  const auto report = copy(source(), destination(), {.policy = P2p::preferred, .verify = true});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->verified, true);
  ASSERT_FALSE(report->fallbacks.empty());
  EXPECT_EQ(report->fallbacks.front().code, "transfer_failed");
  printf("%s\n%s\n", refused.error().message().c_str(), report->fallbacks.front().reason.c_str());
}

}  // namespace
}  // namespace barter
