// What the guest's kernel makes of a BAR that VFIO exports as a dma-buf, and how what the kernel will revoke is taken back from
// our own importers before.
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drivers/nvme/cmb_exporter.h"
#include "drivers/nvme/drive_importer.h"
#include "linux/vfio/dma_buf.h"
#include "peer/exchange.h"
#include "vfio_machine.h"

namespace barter {
namespace {

using drivers::nvme::Controller;
using drivers::nvme::Opcode;
using linux_os::vfio::DmaBuf;
using ::testing::HasSubstr;

constexpr unsigned kMemoryBar = 2;
constexpr std::uint64_t kBarBytes = std::uint64_t{16} << 20;

class DmaBufOfVfio : public ::testing::Test {
 protected:
  std::unique_ptr<linux_os::vfio::VfioFunction> open(std::size_t index) {
    auto function = host_->open(guest::vfio_functions()[index]);
    EXPECT_TRUE(function) << function.error().message();
    return function ? std::move(*function) : nullptr;
  }
  static std::string fd_info(const DmaBuf& buffer) {
    std::ifstream stream(fmt::format("/proc/self/fdinfo/{}", buffer.descriptor()));
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  // What becomes of an attempt to import it by vgem, a driver in the kernel that asks for no peer-to-peer access: an errno, or
  // nothing when the guest has no vgem.
  static std::optional<int> import_by_vgem(const DmaBuf& buffer) {
    const char* const card = std::getenv("BARTER_VGEM");
    if (card == nullptr) return std::nullopt;
    const linux_os::Descriptor device(::open(card, O_RDWR | O_CLOEXEC));
    if (!device.is_open()) return std::nullopt;
    struct {
      std::uint32_t handle = 0;
      std::uint32_t flags = 0;
      std::int32_t fd = -1;
    } request;
    request.fd = buffer.descriptor();
    constexpr unsigned long kPrimeFdToHandle = _IOWR('d', 0x2e, request);  // DRM_IOCTL_PRIME_FD_TO_HANDLE
    return ioctl(device.number(), kPrimeFdToHandle, &request) == 0 ? 0 : errno;
  }
  std::shared_ptr<linux_os::vfio::Host> host_ = linux_os::vfio::Host::create();
};

TEST_F(DmaBufOfVfio, StandsForTheRangeThatWasAskedFor) {
  auto function = open(0);
  ASSERT_TRUE(function);
  ASSERT_TRUE(DmaBuf::probe(*function)) << DmaBuf::probe(*function).error().message();
  for (const MemoryRange range : {MemoryRange{0, kBarBytes}, MemoryRange{1 << 20, 4096}}) {
    auto buffer = DmaBuf::create(*function, kMemoryBar, range);
    ASSERT_TRUE(buffer) << buffer.error().message();
    EXPECT_EQ(buffer->size_bytes().value(), range.bytes);
    EXPECT_THAT(fd_info(*buffer), HasSubstr(fmt::format("size:\t{}", range.bytes)));
    std::printf("%s", fd_info(*buffer).c_str());
  }
}

TEST_F(DmaBufOfVfio, RangesThatMakeNoSenseAreErrors) {
  auto function = open(0);
  ASSERT_TRUE(function);
  EXPECT_FALSE(DmaBuf::create(*function, kMemoryBar, {0, 100}));
  EXPECT_FALSE(DmaBuf::create(*function, kMemoryBar, {100, 4096}));
  EXPECT_FALSE(DmaBuf::create(*function, kMemoryBar, {kBarBytes, 4096}));
  EXPECT_FALSE(DmaBuf::create(*function, kMemoryBar, {0, kBarBytes + 4096}));
  EXPECT_FALSE(DmaBuf::create(*function, kMemoryBar, {0, 0}));
  EXPECT_FALSE(DmaBuf::create(*function, 4, {0, 4096}));
  EXPECT_FALSE(DmaBuf::create(*function, 77, {0, 4096}));
}

// There is no CPU address to be had from it, no fence to wait for, and it can be passed on like any descriptor.
TEST_F(DmaBufOfVfio, WhatTheDescriptorAnswers) {
  auto function = open(0);
  ASSERT_TRUE(function);
  auto buffer = DmaBuf::create(*function, kMemoryBar, {0, 1 << 20});
  ASSERT_TRUE(buffer);
  void* const memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, buffer->descriptor(), 0);
  std::printf("mmap: %s\n", memory == MAP_FAILED ? strerror(errno) : "mapped");
  if (memory != MAP_FAILED) munmap(memory, 4096);
  pollfd entry{.fd = buffer->descriptor(), .events = POLLIN | POLLOUT, .revents = 0};
  EXPECT_EQ(poll(&entry, 1, 0), 1);
  EXPECT_EQ(entry.revents & (POLLIN | POLLOUT), POLLIN | POLLOUT);  // nobody is at work on it
  const struct dma_buf_sync start{.flags = DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ};
  std::printf("sync: %s\n", ioctl(buffer->descriptor(), DMA_BUF_IOCTL_SYNC, &start) == 0 ? "taken" : strerror(errno));
}

TEST_F(DmaBufOfVfio, AnImporterThatDoesNotAskForPeerAccessIsRefusedByTheKernel) {
  auto function = open(0);
  ASSERT_TRUE(function);
  auto buffer = DmaBuf::create(*function, kMemoryBar, {0, 1 << 20});
  ASSERT_TRUE(buffer);
  const auto error = import_by_vgem(*buffer);
  if (!error) GTEST_SKIP() << "skipped: the guest has no vgem";
  EXPECT_EQ(*error, EOPNOTSUPP) << strerror(*error);
}

// The descriptor outlives the device; what it stands for does not.
TEST_F(DmaBufOfVfio, ClosingTheDeviceRevokesItForGood) {
  auto function = open(0);
  ASSERT_TRUE(function);
  auto buffer = DmaBuf::create(*function, kMemoryBar, {0, 1 << 20});
  ASSERT_TRUE(buffer);
  function.reset();
  EXPECT_EQ(buffer->size_bytes().value(), 1u << 20);
  const auto error = import_by_vgem(*buffer);
  if (error) std::printf("import after the device was closed: %s\n", strerror(*error));
  auto again = open(0);
  ASSERT_TRUE(again);
  EXPECT_TRUE(DmaBuf::create(*again, kMemoryBar, {0, 1 << 20}));
}

// The exporter's side of revocation, through the peer core: whatever makes the kernel revoke a dma-buf makes us take the memory
// back from our importers first.
class RevokedByVfio : public DmaBufOfVfio {
 protected:
  void SetUp() override {
    auto function = open(1);
    ASSERT_TRUE(function);
    exporting_ = function.get();
    auto created = Controller::create(std::move(function), {});
    ASSERT_TRUE(created) << created.error().message();
    target_ = std::move(*created);
    auto importing = open(0);
    ASSERT_TRUE(importing);
    created = Controller::create(std::move(importing), {.command_timeout = std::chrono::seconds(3)});
    ASSERT_TRUE(created) << created.error().message();
    source_ = std::move(*created);
    auto domain = host_->domain(guest::vfio_functions()[0]);
    ASSERT_TRUE(domain);
    domain_ = std::move(*domain);
    exporter_.emplace(*target_);
    importer_.emplace(*source_, *domain_);
    exchange_.emplace(host_->clock(), [](Bdf, Bdf) {
      return peer::RouteAnswer{.read = Route::through_host_bridge, .write = Route::through_host_bridge};
    });
    ASSERT_TRUE(exchange_->add(*exporter_));
    ASSERT_TRUE(exchange_->add(*importer_));
    exporting_->on_memory_leaving([this] { report_ = exchange_->revoke_all(*exporter_); });
  }
  void TearDown() override {
    if (exporting_ != nullptr) exporting_->on_memory_leaving({});
  }

  linux_os::vfio::VfioFunction* exporting_ = nullptr;
  std::unique_ptr<Controller> target_;
  std::unique_ptr<Controller> source_;
  std::unique_ptr<peer::DmaDomain> domain_;
  std::optional<drivers::nvme::CmbExporter> exporter_;
  std::optional<drivers::nvme::DriveImporter> importer_;
  std::optional<peer::Exchange> exchange_;
  std::optional<Result<RevokeReport>> report_;
};

TEST_F(RevokedByVfio, TurningTheMemoryOffTakesItBackFirst) {
  auto region = exchange_->allocate(*exporter_, 1 << 20);
  ASSERT_TRUE(region);
  auto mapping = exchange_->map(*importer_, *region, {.access = Access::write});
  ASSERT_TRUE(mapping) << mapping.error().message();
  const DmaSegment segment{mapping->lease()->segments()[0].address, 4096};
  auto command = exporting_->read_config(4, 2);
  ASSERT_TRUE(command);
  ASSERT_TRUE(exporting_->write_config(4, 2, *command & ~2u));
  ASSERT_TRUE(report_ && *report_);
  EXPECT_EQ((*report_)->mappings, 1u);
  EXPECT_TRUE(mapping->is_revoked());
  EXPECT_FALSE(mapping->lease());
  // The drive's DMA to it faults in the IOMMU; it never gets as far as the memory that is off.
  auto queue = source_->create_queue_pair({});
  ASSERT_TRUE(queue);
  const std::uint64_t before = guest::kernel_faults();
  ASSERT_TRUE((*queue)->submit({.opcode = Opcode::read, .blocks = 8, .data = {&segment, 1}}));
  (*queue)->ring();
  std::array<drivers::nvme::CommandResult, 1> results;
  while ((*queue)->poll(results).value_or(1) == 0) host_->clock().idle();
  EXPECT_GT(guest::kernel_faults(), before);
  ASSERT_TRUE(exporting_->write_config(4, 2, *command));
  // What was taken back is gone for good, and there is more where it came from.
  EXPECT_TRUE(region->is_revoked());
  auto another = exchange_->allocate(*exporter_, 1 << 20);
  ASSERT_TRUE(another);
  EXPECT_TRUE(exchange_->map(*importer_, *another, {.access = Access::write}));
}

TEST_F(RevokedByVfio, AResetTakesItBackFirst) {
  auto region = exchange_->allocate(*exporter_, 1 << 20);
  ASSERT_TRUE(region);
  auto mapping = exchange_->map(*importer_, *region, {.access = Access::read_write});
  ASSERT_TRUE(mapping);
  auto buffer = DmaBuf::create(*exporting_, kMemoryBar, {0, 1 << 20});
  ASSERT_TRUE(buffer);
  ASSERT_TRUE(exporting_->reset());
  ASSERT_TRUE(report_ && *report_);
  EXPECT_TRUE(mapping->is_revoked());
  // The kernel lets the dma-buf live on after the reset.
  EXPECT_EQ(buffer->size_bytes().value(), 1u << 20);
}

// Without the hook nothing would stop it: type 1 of VFIO's IOMMU keeps a BAR mapped whatever becomes of the BAR. This is what
// dma-bufs were made for, and why the hook is not a nicety.
TEST_F(RevokedByVfio, TheKernelAloneLeavesTheMappingInPlace) {
  auto mapped = domain_->map(exporter_->bus_address(), 4096, Access::write);
  ASSERT_TRUE(mapped) << mapped.error().message();
  ASSERT_TRUE(exporting_->reset());
  auto queue = source_->create_queue_pair({});
  ASSERT_TRUE(queue);
  const DmaSegment segment{*mapped, 4096};
  const std::uint64_t before = guest::kernel_faults();
  ASSERT_TRUE((*queue)->submit({.opcode = Opcode::read, .blocks = 8, .data = {&segment, 1}}));
  (*queue)->ring();
  std::array<drivers::nvme::CommandResult, 1> results;
  while ((*queue)->poll(results).value_or(1) == 0) host_->clock().idle();
  EXPECT_EQ(guest::kernel_faults(), before);
  domain_->unmap(*mapped, 4096);
}

}  // namespace
}  // namespace barter
