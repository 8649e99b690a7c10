// The IOMMU as one function behind VFIO sees it: peers' BARs are mapped into the container of its group, through this
// process's mapping of the BAR. The functions of one group have one IOMMU, and reach what is mapped for any of them.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "linux/vfio/host.h"
#include "peer/dma_domain.h"

namespace barter::linux_os::vfio {

class VfioDomain final : public peer::DmaDomain {
 public:
  VfioDomain(std::shared_ptr<Host> host, std::shared_ptr<Group> group)
      : host_(std::move(host)), group_(std::move(group)) {}
  ~VfioDomain() override;
  VfioDomain(const VfioDomain&) = delete;
  VfioDomain& operator=(const VfioDomain&) = delete;

  [[nodiscard]] bool translates() const override { return true; }
  [[nodiscard]] bool keeps_bus_addresses() const override { return true; }
  [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t bytes, Access access) override;
  void unmap(DmaAddress address, std::uint64_t bytes) override;

 private:
  struct Mapped {
    std::uint64_t asked_bytes = 0;
    DmaAddress first;  // whole pages
    std::uint64_t bytes = 0;
    std::shared_ptr<BarMemory> bar;  // keeps the kernel's device open while its memory is mapped
  };
  void forget(const Mapped& mapped);

  std::shared_ptr<Host> host_;
  std::shared_ptr<Group> group_;
  std::mutex mutex_;
  std::map<DmaAddress, Mapped> mapped_;
};

}  // namespace barter::linux_os::vfio
