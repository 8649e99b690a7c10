// Managed memory whose device leaves: what is lost is said, and no touch hangs.
#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "accelerator_machine.h"
#include "drivers/accelerator/memory_exporter.h"
#include "linux/userfault/user_fault.h"
#include "peer/managed_pages.h"

namespace barter::contract {
namespace {

using namespace barter::literals;

thread_local sigjmp_buf where_to;
thread_local bool is_guarded = false;

void on_bus_error(int) {
  if (is_guarded) siglongjmp(where_to, 1);
  std::_Exit(99);
}

class ManagedUnplug : public testing::TestWithParam<bool> {
 protected:
  static constexpr std::uint64_t kPages = 16;
  static constexpr std::uint64_t kPage = peer::kPageBytes;

  ManagedUnplug()
      : machine_(
            fabric::one_switch(),
            {.running = GetParam() ? fabric::Running::threaded : fabric::Running::stepped, .host_memory_bytes = 64_MiB},
            {.memory_bytes = 1_MiB}) {}
  void SetUp() override {
    struct sigaction action{};
    action.sa_handler = on_bus_error;
    action.sa_flags = SA_NODEFER;
    sigaction(SIGBUS, &action, nullptr);
    accelerator_ = machine_.bring_up("a");
    exporter_ = std::make_unique<gpu::MemoryExporter>(*accelerator_);
    ASSERT_TRUE(exchange().add(*exporter_));
    room_ = *machine_.fabric->allocate_host(kPages * kPage);
    auto faults = linux_os::UserFault::create(kPages * kPage, room_.bytes());
    if (!faults) GTEST_SKIP() << "skipped: " << faults.error().message();
    auto made = peer::ManagedPages::create({.exchange = exchange(),
                                            .clock = machine_.fabric->clock(),
                                            .faults = std::move(*faults),
                                            .place = {.address = {room_.address().value}, .is_known_by_pointer = false},
                                            .mover = nullptr,
                                            .touch_deadline = GetParam() ? Duration(5s) : Duration(1ms),
                                            .on_lost = [this](MemoryRange range, const Error& error) {
                                              const std::lock_guard lock(mutex_);
                                              lost_.push_back(range);
                                              why_ = error.message();
                                            }});
    ASSERT_TRUE(made) << made.error().message();
    memory_ = std::move(*made);
    std::memset(memory_->bytes().data(), 0x21, kPages * kPage);
    ASSERT_TRUE(memory_->move_to(*exporter_, {.offset = 0, .bytes = 8 * kPage}, 1s));
  }
  void TearDown() override { memory_.reset(); }
  [[nodiscard]] peer::Exchange& exchange() {
    if (!exchange_)
      exchange_ = std::make_unique<peer::Exchange>(machine_.fabric->clock(), [](Bdf, Bdf) {
        return peer::RouteAnswer{.read = Route::through_host_bridge, .write = Route::through_host_bridge};
      });
    return *exchange_;
  }
  // A load by the program; none: SIGBUS.
  [[nodiscard]] std::optional<int> load(std::uint64_t page) {
    is_guarded = true;
    volatile int seen = -1;
    if (sigsetjmp(where_to, 1) == 0)
      seen = std::to_integer<int>(*static_cast<const volatile std::byte*>(&memory_->bytes()[page * kPage]));
    is_guarded = false;
    return seen < 0 ? std::nullopt : std::optional<int>(seen);
  }

  AcceleratorMachine machine_;
  std::unique_ptr<gpu::Accelerator> accelerator_;
  std::unique_ptr<gpu::MemoryExporter> exporter_;
  std::unique_ptr<peer::Exchange> exchange_;
  pci::DmaBuffer room_;
  std::mutex mutex_;  // of
  std::vector<MemoryRange> lost_;
  [[nodiscard]] std::vector<MemoryRange> lost() {
    const std::lock_guard lock(mutex_);
    return lost_;
  }
  std::string why_;
  std::shared_ptr<peer::ManagedPages> memory_;
};

TEST_P(ManagedUnplug, ItsPagesAreLostAndATouchSaysSo) {
  EXPECT_TRUE(exporter_->is_present());
  EXPECT_EQ(load(0), 0x21);
  machine_.fabric->remove(machine_.bdf("a"));
  EXPECT_FALSE(exporter_->is_present());
  EXPECT_EQ(load(0), 0x21) << "what has come back is here";
  EXPECT_EQ(load(9), 0x21) << "and what never left";
  EXPECT_EQ(load(3), std::nullopt);
  ASSERT_EQ(lost().size(), 1u);
  EXPECT_EQ(lost().front(), (MemoryRange{3 * kPage, kPage}));
  EXPECT_NE(why_.find("does not answer"), std::string::npos) << why_;
  const auto moved = memory_->move_to_host({}, 1ms);
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code, ErrorCode::device_gone);
  ASSERT_TRUE(memory_->renew({3 * kPage, kPage}));
  EXPECT_EQ(load(3), 0);
}

TEST_P(ManagedUnplug, TheMemoryGoesAfterItsDevice) {
  machine_.fabric->remove(machine_.bdf("a"));
  memory_.reset();
  EXPECT_TRUE(lost().empty()) << "nobody asked for them";
}

// A link that goes down resets what is below it: what comes back has forgotten the pages, and must not be believed.
TEST_P(ManagedUnplug, ALinkThatComesBackBringsNoPages) {
  machine_.fabric->set_link(machine_.bdf("a"), false);
  EXPECT_EQ(load(2), std::nullopt);
  machine_.fabric->set_link(machine_.bdf("a"), true);
  EXPECT_FALSE(exporter_->is_present());
  EXPECT_EQ(load(4), std::nullopt);
  EXPECT_EQ(lost().size(), 2u);
  EXPECT_EQ(load(9), 0x21);
}

INSTANTIATE_TEST_SUITE_P(On, ManagedUnplug, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Threaded" : "Stepped"; });

}  // namespace
}  // namespace barter::contract
