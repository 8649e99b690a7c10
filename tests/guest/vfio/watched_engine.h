// What it takes to believe a drive of QEMU's: it reports success whatever became of its requests, and QEMU's IOMMU drops a request
// without a fault where it remembers the address with fewer rights. So an access counts if the bytes are where they should be.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/random.h"
#include "peer/dma_domain.h"
#include "vfio_machine.h"

namespace barter::guest {

// Remembers what is mapped where.
class RememberingDomain final : public peer::DmaDomain {
 public:
  explicit RememberingDomain(std::unique_ptr<peer::DmaDomain> domain) : domain_(std::move(domain)) {}
  [[nodiscard]] bool translates() const override { return domain_->translates(); }
  [[nodiscard]] bool keeps_bus_addresses() const override { return domain_->keeps_bus_addresses(); }
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
  std::unique_ptr<peer::DmaDomain> domain_;
  std::map<DmaAddress, Mapped> mapped_;
};

// The memory of a peer, as the CPU sees it, and where it lies on the bus.
struct PeerMemoryView {
  BusAddress start;
  std::span<std::byte> bytes;
};

class WatchedEngine {
 public:
  // Both outlive it.
  WatchedEngine(Engine& engine, RememberingDomain& domain) : engine_(engine), domain_(domain) {}

  [[nodiscard]] bool writes(const PeerMemoryView& memory, DmaAddress to, std::span<const std::byte> bytes) {
    const auto behind = view(memory, to, bytes.size());
    const std::vector<std::byte> before(behind.begin(), behind.end());
    // Nothing that is written here is there already.
    std::ranges::transform(bytes.first(behind.size()), behind.begin(), [](std::byte byte) { return ~byte; });
    if (engine_.writes(to, bytes) && std::ranges::equal(behind, bytes.first(behind.size()))) return true;
    std::ranges::copy(before, behind.begin());
    return false;
  }
  [[nodiscard]] bool reads(const PeerMemoryView& memory, DmaAddress from, std::span<std::byte> bytes) {
    const auto behind = view(memory, from, bytes.size());
    const std::vector<std::byte> before(behind.begin(), behind.end());
    std::ranges::generate(behind, [this] { return static_cast<std::byte>(random_.next()); });
    const std::vector<std::byte> there(behind.begin(), behind.end());
    std::vector<std::byte> found(bytes.size());
    const bool ok = engine_.reads(from, found) && std::ranges::equal(there, std::span(found).first(there.size()));
    std::ranges::copy(before, behind.begin());
    if (ok) std::ranges::copy(behind.empty() ? std::span<std::byte>(found) : behind, bytes.begin());
    return ok;
  }

 private:
  // The memory behind a DMA address; empty if it isn't mapped.
  [[nodiscard]] std::span<std::byte> view(const PeerMemoryView& memory, DmaAddress at, std::uint64_t bytes) const {
    const auto target = domain_.behind(at, bytes);
    return target ? memory.bytes.subspan(*target - memory.start, bytes) : std::span<std::byte>{};
  }

  Engine& engine_;
  RememberingDomain& domain_;
  base::Random random_{7};
};

}  // namespace barter::guest
