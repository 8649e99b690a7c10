#include "unit.h"

#include <utility>

namespace barter::sim {

// An IOMMU that never forgets, from the importer's view.
class WatchedImporter::LeakyDomain final : public peer::DmaDomain {
 public:
  explicit LeakyDomain(peer::DmaDomain& real) : real_(real) {}
  [[nodiscard]] bool translates() const override { return real_.translates(); }
  [[nodiscard]] bool device_translates() const override { return real_.device_translates(); }
  [[nodiscard]] bool is_defied() const override { return real_.is_defied(); }
  [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t bytes, Access access) override {
    return real_.map(target, bytes, access);
  }
  void unmap(DmaAddress, std::uint64_t) override {}

 private:
  peer::DmaDomain& real_;
};

WatchedImporter::WatchedImporter(peer::Importer& real, fabric::Fabric& fabric, Break broken)
    : real_(real), fabric_(fabric), broken_(broken) {
  if (broken == Break::iommu_keeps_mapping) leaky_ = std::make_shared<LeakyDomain>(real.domain());
}

peer::DmaDomain& WatchedImporter::domain() {
  if (leaky_) return *leaky_;
  return real_.domain();
}

void WatchedImporter::make_progress() {
  if (broken_ == Break::importer_hangs)
    static_cast<void>(base::wait_until(fabric_.clock(), base::TimePoint::max(), [] { return false; }));
  real_.make_progress();
}

Result<void> WatchedImporter::isolate() {
  was_isolated_ = true;
  if (broken_ == Break::isolation_does_nothing) return {};
  return real_.isolate();
}

}  // namespace barter::sim
