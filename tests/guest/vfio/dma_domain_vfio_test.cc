// The contract of peer::DmaDomain on VFIO: one drive's DMA to the other's controller memory buffer, through the guest's IOMMU.
#include "dma_domain_contract.h"

#include <cstdlib>
#include <memory>

#include "watched_engine.h"

namespace barter::peer {
namespace {

class PeerMemory {
 public:
  PeerMemory() {
    if (!controller_) std::abort();
  }
  DmaDomain& domain() { return *domain_; }
  BusAddress target() { return controller_->controller_memory_address(); }
  std::span<std::byte> memory() { return controller_->controller_memory_bytes(); }
  bool device_writes(DmaAddress to, std::span<std::byte> bytes) {
    return watched_.writes({target(), memory()}, to, bytes);
  }
  bool device_reads(DmaAddress from, std::span<std::byte> bytes) {
    return watched_.reads({target(), memory()}, from, bytes);
  }
  std::uint64_t faults() { return engine_.refused(); }

 private:
  template <class T>
  static T must(Result<T> result) {
    if (result) return std::move(*result);
    (void)print(result.error());
    std::abort();
  }
  std::shared_ptr<linux_os::vfio::Host> host_ = linux_os::vfio::Host::create();
  std::unique_ptr<pci::Function> function_ = must(host_->open(guest::vfio_functions()[0]));
  std::unique_ptr<guest::RememberingDomain> domain_ =
      std::make_unique<guest::RememberingDomain>(must(host_->domain(guest::vfio_functions()[0])));
  guest::Engine engine_{*function_};
  guest::WatchedEngine watched_{engine_, *domain_};
  std::unique_ptr<drivers::nvme::Controller> controller_ =
      must(drivers::nvme::Controller::create(must(host_->open(guest::vfio_functions()[1])), {}));
};
INSTANTIATE_TYPED_TEST_SUITE_P(Vfio, DmaDomainContract, PeerMemory);

}  // namespace
}  // namespace barter::peer
