// The contract of peer::DmaDomain on VFIO: one drive's DMA to the other's controller memory buffer, through the guest's IOMMU.
#include "dma_domain_contract.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/random.h"
#include "vfio_machine.h"

namespace barter::peer {
namespace {

// Remembers what is mapped where, so that the test can look whether bytes have arrived: QEMU's drive reports success whatever
// became of its requests, and its IOMMU drops a request without a fault where it remembers the address with fewer rights.
class RememberingDomain final : public DmaDomain {
 public:
  explicit RememberingDomain(std::unique_ptr<DmaDomain> domain) : domain_(std::move(domain)) {}
  [[nodiscard]] bool translates() const override { return domain_->translates(); }
  [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t bytes, Access access) override {
    auto address = domain_->map(target, bytes, access);
    if (address) mapped_[*address] = {target, bytes};
    return address;
  }
  void unmap(DmaAddress address, std::uint64_t bytes) override {
    domain_->unmap(address, bytes);
    if (const auto found = mapped_.find(address); found != mapped_.end() && found->second.bytes == bytes)
      mapped_.erase(found);
  }
  [[nodiscard]] std::optional<BusAddress> behind(DmaAddress at, std::uint64_t bytes) const {
    for (const auto& [address, what] : mapped_)
      if (at >= address && at - address + bytes <= what.bytes) return what.target + (at - address);
    return std::nullopt;
  }

 private:
  struct Mapped {
    BusAddress target;
    std::uint64_t bytes = 0;
  };
  std::unique_ptr<DmaDomain> domain_;
  std::map<DmaAddress, Mapped> mapped_;
};

class PeerMemory {
 public:
  PeerMemory() {
    if (!controller_) std::abort();
  }
  DmaDomain& domain() { return *domain_; }
  BusAddress target() { return controller_->controller_memory_address(); }
  std::span<std::byte> memory() { return controller_->controller_memory_bytes(); }
  bool device_writes(DmaAddress to, std::span<std::byte> bytes) {
    const auto behind = view(to, bytes.size());
    const std::vector<std::byte> before(behind.begin(), behind.end());
    // Nothing that is written here is there already.
    std::ranges::transform(bytes.first(behind.size()), behind.begin(), [](std::byte byte) { return ~byte; });
    if (engine_.writes(to, bytes) && std::ranges::equal(behind, bytes.first(behind.size()))) return true;
    std::ranges::copy(before, behind.begin());
    return false;
  }
  bool device_reads(DmaAddress from, std::span<std::byte> bytes) {
    const auto behind = view(from, bytes.size());
    const std::vector<std::byte> before(behind.begin(), behind.end());
    std::ranges::generate(behind, [this] { return static_cast<std::byte>(random_.next()); });
    const std::vector<std::byte> there(behind.begin(), behind.end());
    std::vector<std::byte> found(bytes.size());
    const bool ok = engine_.reads(from, found) && std::ranges::equal(there, std::span(found).first(there.size()));
    std::ranges::copy(before, behind.begin());
    if (ok) std::ranges::copy(behind.empty() ? std::span<std::byte>(found) : behind, bytes.begin());
    return ok;
  }
  std::uint64_t faults() { return engine_.refused(); }

 private:
  // The memory behind a DMA address; empty if it isn't mapped.
  std::span<std::byte> view(DmaAddress at, std::uint64_t bytes) {
    const auto target = domain_->behind(at, bytes);
    return target ? memory().subspan(*target - this->target(), bytes) : std::span<std::byte>{};
  }
  template <class T>
  static T must(Result<T> result) {
    if (result) return std::move(*result);
    (void)print(result.error());
    std::abort();
  }
  std::shared_ptr<linux_os::vfio::Host> host_ = linux_os::vfio::Host::create();
  std::unique_ptr<pci::Function> function_ = must(host_->open(guest::vfio_functions()[0]));
  std::unique_ptr<RememberingDomain> domain_ =
      std::make_unique<RememberingDomain>(must(host_->domain(guest::vfio_functions()[0])));
  guest::Engine engine_{*function_};
  base::Random random_{7};
  std::unique_ptr<drivers::nvme::Controller> controller_ =
      must(drivers::nvme::Controller::create(must(host_->open(guest::vfio_functions()[1])), {}));
};
INSTANTIATE_TYPED_TEST_SUITE_P(Vfio, DmaDomainContract, PeerMemory);

}  // namespace
}  // namespace barter::peer
