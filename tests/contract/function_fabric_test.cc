// The contract of pci::Function on the software fabric: stepped, threaded, and behind an IOMMU.
#include <memory>

#include "fabric/test_machines.h"
#include "function_contract.h"

namespace barter::pci {
namespace {

template <fabric::Running kRunning, IommuMode kIommu>
class OnFabric {
 public:
  static constexpr unsigned kScratchBar = 0;
  static constexpr std::uint64_t kScratchRegister = 8;
  static constexpr unsigned kMemoryBar = 2;
  static constexpr unsigned kMissingBar = 4;
  static constexpr unsigned kVectors = fabric::ScratchDevice::kVectors;

  OnFabric() : machine_(description(), {.running = kRunning, .host_memory_bytes = 64 << 20}) {
    function_ = machine_.function("a");
    other_ = machine_.function("b");
  }
  Function& function() { return *function_; }
  Function& other() { return *other_; }
  bool device_writes(DmaAddress to, std::span<std::byte> bytes) {
    return machine_.devices[0]->bus().write(to, bytes) == fabric::Completion::successful;
  }
  bool other_device_writes(DmaAddress to, std::span<std::byte> bytes) {
    return machine_.devices[1]->bus().write(to, bytes) == fabric::Completion::successful;
  }
  bool device_reads(DmaAddress from, std::span<std::byte> bytes) {
    return machine_.devices[0]->bus().read(from, bytes) == fabric::Completion::successful;
  }
  void device_interrupts(unsigned vector) { machine_.devices[0]->bus().interrupt(vector); }

 private:
  static topology::Description description() {
    auto machine = fabric::one_switch();
    machine.iommu = kIommu;
    return machine;
  }
  fabric::TestMachine machine_;
  std::unique_ptr<Function> function_;
  std::unique_ptr<Function> other_;
};

// The test's own thread plays the device's part here; what two threads do to each other is in src/fabric/threaded_test.cc.
using Stepped = OnFabric<fabric::Running::stepped, IommuMode::off>;
using Translated = OnFabric<fabric::Running::stepped, IommuMode::translate>;
using Threaded = OnFabric<fabric::Running::threaded, IommuMode::translate>;
INSTANTIATE_TYPED_TEST_SUITE_P(Stepped, FunctionContract, Stepped);
INSTANTIATE_TYPED_TEST_SUITE_P(Translated, FunctionContract, Translated);
INSTANTIATE_TYPED_TEST_SUITE_P(Threaded, FunctionContract, Threaded);

}  // namespace
}  // namespace barter::pci
