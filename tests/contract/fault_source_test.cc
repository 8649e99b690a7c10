// The contract of page faults, on Linux's userfaultfd and on the one that tests use.
#include <csetjmp>
#include <csignal>
#include <utility>

#include "fault_source_contract.h"
#include "linux/userfault/user_fault.h"
#include "peer/fake_fault_source.h"

namespace barter::contract {
namespace {

// A touch that may end in SIGBUS, on any thread.
thread_local sigjmp_buf where_to;
thread_local bool is_guarded = false;

void on_bus_error(int) {
  if (is_guarded) siglongjmp(where_to, 1);
  std::_Exit(99);
}

template <class Access>
bool survives(Access&& access) {
  struct sigaction action{};
  action.sa_handler = on_bus_error;
  action.sa_flags = SA_NODEFER;
  sigaction(SIGBUS, &action, nullptr);
  is_guarded = true;
  const bool lived = sigsetjmp(where_to, 1) == 0;
  if (lived) access();
  is_guarded = false;
  return lived;
}

Result<FaultHarness> by_userfaultfd(std::uint64_t bytes) {
  auto source = linux_os::UserFault::create(bytes);
  if (!source) return std::unexpected(std::move(source.error()));
  volatile std::byte* const memory = (*source)->program_bytes().data();
  FaultHarness harness;
  harness.source = std::move(*source);
  harness.load = [memory](std::uint64_t offset) -> std::optional<std::byte> {
    volatile unsigned char seen = 0;
    if (!survives([&] { seen = static_cast<unsigned char>(memory[offset]); })) return std::nullopt;
    return std::byte{seen};
  };
  harness.store = [memory](std::uint64_t offset, std::byte value) { return survives([&] { memory[offset] = value; }); };
  return harness;
}

Result<FaultHarness> by_calls(std::uint64_t bytes) {
  auto source = std::make_unique<peer::test::FakeFaultSource>(bytes);
  auto* const fake = source.get();
  FaultHarness harness;
  harness.source = std::move(source);
  harness.load = [fake](std::uint64_t offset) {
    return fake->touch(offset / peer::kPageBytes) ? std::optional(fake->program_bytes()[offset]) : std::nullopt;
  };
  harness.store = [fake](std::uint64_t offset, std::byte value) {
    if (!fake->touch(offset / peer::kPageBytes)) return false;
    fake->program_bytes()[offset] = value;
    return true;
  };
  return harness;
}

INSTANTIATE_TEST_SUITE_P(Linux, FaultSourceContract, testing::Values(FaultSourceKind{"userfaultfd", by_userfaultfd}),
                         [](const auto& kind) { return kind.param.name; });
INSTANTIATE_TEST_SUITE_P(Fake, FaultSourceContract, testing::Values(FaultSourceKind{"fake", by_calls}),
                         [](const auto& kind) { return kind.param.name; });

TEST(UserFault, RefusesSizesThatAreNotPages) {
  for (const std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{4095}, std::uint64_t{4097}, ~std::uint64_t{4095}}) {
    const auto made = linux_os::UserFault::create(bytes);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::invalid_argument);
  }
}

}  // namespace
}  // namespace barter::contract
