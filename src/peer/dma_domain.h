// The seam to the IOMMU, as one importer sees it. Implemented by the software IOMMU, by VFIO's containers, by the kernel
// that drives a drive itself, and by NoIommu below. The contract is tests/contract/dma_domain_contract.h.
#pragma once
#include <cstdint>
#include <optional>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "barter/verdict.hpp"

namespace barter::peer {

class DmaDomain {
 public:
  virtual ~DmaDomain() = default;

  // Does an IOMMU stand behind this domain, so that unmap() cuts DMA off?
  [[nodiscard]] virtual bool translates() const = 0;

  // True where the importer's requests carry addresses of this process, and a driver in the kernel makes DMA addresses of
  // them: then map() is asked on every route, with such an address as the target, and gives it back. What takes pointers
  // can't take bus addresses, and the other way round.
  [[nodiscard]] virtual bool takes_pointers() const { return false; }

  // True where requests that go by bus address may meet the IOMMU all the same: a virtual machine whose switches are but
  // drawn, for one. Then map() is asked on that route too, and should give the target's own address back, under which the
  // request arrives either way. What such a mapping reaches is not cut off by unmap() alone.
  [[nodiscard]] virtual bool keeps_bus_addresses() const { return false; }

  // Lets the importer reach `bytes` of bus memory from `target` on; returns the address its requests must carry.
  // Neither need be page-aligned; the domain maps whole pages and returns an address with the same offset in its page.
  [[nodiscard]] virtual Result<DmaAddress> map(BusAddress target, std::uint64_t bytes, Access access) = 0;

  // What is to be reached at an address that the caller chooses.
  struct Placed {
    DmaAddress at;
    BusAddress target;
    std::uint64_t bytes = 0;
    Access access = Access::read;
    Route route = Route::unknown;     // from the importer to the target
    std::optional<LinkAddress> link;  // how its engines name the target; none: it is reached by PCIe
  };
  // As map(), at just this address, where nothing is mapped yet; both addresses have the same offset in their page. For
  // domains that are a device's own page tables, which show it memory where the program has it.
  [[nodiscard]] virtual Result<DmaAddress> map_at(const Placed& placed);

  // Takes one map() back, whole. When it returns, a request to that range faults and changes nothing; unless the device
  // defies it, below.
  virtual void unmap(DmaAddress address, std::uint64_t bytes) = 0;

  // Does the function ask the IOMMU itself, and keep the answers (PCIe's Address Translation Services)? Then it must be
  // given addresses that map() made on every route, and unmap() takes the answers back as well: it waits for the device to
  // confirm that.
  [[nodiscard]] virtual bool device_translates() const { return false; }

  // After unmap(): does the device keep an answer that it was told to drop, and can it go by it where no IOMMU sees its
  // requests? Then nothing that a domain can do stops it, only Importer::isolate(). Stays so until the device is reset.
  [[nodiscard]] virtual bool is_defied() const { return false; }
};

inline Result<DmaAddress> DmaDomain::map_at(const Placed&) {
  return fail({.code = ErrorCode::unsupported,
               .doing = "mapping memory",
               .subject = "at an address of one's own choice",
               .why = "the addresses of this device are given to it",
               .cure = "let the machine choose"});
}

// No IOMMU, or one that passes everything through: DMA addresses are bus addresses, and nothing can be cut off here.
class NoIommu final : public DmaDomain {
 public:
  [[nodiscard]] bool translates() const override { return false; }
  [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t, Access) override {
    return DmaAddress{target.value};
  }
  void unmap(DmaAddress, std::uint64_t) override {}
};

}  // namespace barter::peer
