// The contract of peer::DmaDomain on the software fabric, in each mode of its IOMMU, for the BAR of a peer behind the root complex.
#include "dma_domain_contract.h"
#include "fabric/test_machines.h"

namespace barter::peer {
namespace {

template <IommuMode kMode, bool kAts = false>
class PeerMemory {
 public:
  PeerMemory() : machine_(description()) {}
  DmaDomain& domain() { return machine_.fabric->domain(machine_.bdf("a")); }
  BusAddress target() { return fabric::TestMachine::bar(*machine_.devices[2], 2); }
  std::span<std::byte> memory() { return machine_.devices[2]->memory(); }
  bool device_writes(DmaAddress to, std::span<std::byte> bytes) {
    return machine_.devices[0]->bus().write(to, bytes) == fabric::Completion::successful;
  }
  bool device_reads(DmaAddress from, std::span<std::byte> bytes) {
    return machine_.devices[0]->bus().read(from, bytes) == fabric::Completion::successful;
  }
  std::uint64_t faults() { return machine_.fabric->counters().iommu_faults; }

 private:
  static topology::Description description() {
    auto machine = fabric::one_switch();
    machine.iommu = kMode;
    machine.root_complexes[0].turns_reads = true;
    machine.root_complexes[0].turns_writes = true;
    machine.functions[0].ats = kAts;
    return machine;
  }
  fabric::TestMachine machine_;
};

using Translating = PeerMemory<IommuMode::translate>;
using PassingThrough = PeerMemory<IommuMode::passthrough>;
using Off = PeerMemory<IommuMode::off>;
using TranslatingInTheDevice = PeerMemory<IommuMode::translate, true>;
INSTANTIATE_TYPED_TEST_SUITE_P(Translating, DmaDomainContract, Translating);
INSTANTIATE_TYPED_TEST_SUITE_P(TranslatingInTheDevice, DmaDomainContract, TranslatingInTheDevice);
INSTANTIATE_TYPED_TEST_SUITE_P(PassingThrough, DmaDomainContract, PassingThrough);
INSTANTIATE_TYPED_TEST_SUITE_P(Off, DmaDomainContract, Off);

}  // namespace
}  // namespace barter::peer
