// The accelerator's own page tables as a DMA domain: memory is shown to its engines at addresses that the caller chooses, so
// that a pointer of the process means the same there. What is the accelerator's own is reached inside it, and another one's behind a link by
// the link; all else as its DMA reaches it, through the domain below. What unmap() takes back is out of reach wherever it was.
//
// Threads: any. The accelerator and the domain below outlive it.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "drivers/accelerator/accelerator.h"
#include "peer/dma_domain.h"

namespace barter::drivers::accelerator {

class PageTableDomain final : public peer::DmaDomain {
 public:
  PageTableDomain(Accelerator& accelerator, peer::DmaDomain& below) : accelerator_(accelerator), below_(below) {}

  [[nodiscard]] bool translates() const override { return true; }
  [[nodiscard]] bool device_translates() const override { return true; }
  // ErrorCode::unsupported: there is no choosing of addresses here.
  [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t bytes, Access access) override;
  [[nodiscard]] Result<DmaAddress> map_at(const Placed& placed) override;
  void unmap(DmaAddress address, std::uint64_t bytes) override;
  // The accelerator did not say that it has forgotten what was unmapped.
  [[nodiscard]] bool is_defied() const override { return is_defied_ || below_.is_defied(); }

 private:
  struct Below {
    DmaAddress address;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] std::optional<std::uint64_t> local_offset(BusAddress target, std::uint64_t bytes);
  [[nodiscard]] Result<std::optional<Below>> map_below(const Placed& placed);

  Accelerator& accelerator_;
  peer::DmaDomain& below_;
  std::mutex mutex_;                         // of the page tables, and of
  std::map<std::uint64_t, Below> below_of_;  // what the domain below is to forget, by virtual page
  std::atomic<bool> is_defied_ = false;
};

}  // namespace barter::drivers::accelerator
