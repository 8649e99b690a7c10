// Drives of this computer that our own NVMe driver drives, through VFIO: those that are bound to vfio-pci (barter bind). They
// are known by their addresses, 0000:03:00.0, because Linux has no name for them.
//
// A drive is opened when it is asked for and not before: opening resets it.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <string_view>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "linux/vfio/host.h"
#include "machine/state.h"
#include "peer/dma_domain.h"
#include "peer/exchange.h"

namespace barter::machine {

class VfioDrives {
 public:
  explicit VfioDrives(linux_os::PciSysfs sysfs = linux_os::PciSysfs())
      : host_(linux_os::vfio::Host::create(std::move(sysfs))) {}

  // The drive of that address, brought up. Null if the name is no address, or of a function that another driver holds. This
  // object outlives the drive.
  [[nodiscard]] Result<std::unique_ptr<DriveUnit>> bring_up(std::string_view name);
  [[nodiscard]] bool is_empty() const;
  // Its driver is ours, so the hardware alone decides on its routes (wire_route.h).
  [[nodiscard]] bool drives(Bdf function) const { return domains_.contains(function); }
  // Drives that the kernel asks for, because they are about to be unplugged or given to another driver, are taken back from the
  // peers, and do nothing new.
  void heed_removal_requests();
  // The drive is part of an exchange now: whoever resets it, or turns its memory off, takes its memory back from the peers
  // first.
  void joined(const DriveUnit& drive, const std::weak_ptr<peer::Exchange>& exchange);

 private:
  std::shared_ptr<linux_os::vfio::Host> host_;
  std::map<Bdf, std::unique_ptr<peer::DmaDomain>> domains_;
  mutable std::mutex mutex_;  // a revocation looks, on any thread, while another drive is brought up
  std::map<Bdf, linux_os::vfio::VfioFunction*> functions_;  // each good while it is open
};

}  // namespace barter::machine
