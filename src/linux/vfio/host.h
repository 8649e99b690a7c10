// This process's use of VFIO: the groups that it holds, the host memory that it has given to devices, and the BARs that it
// has mapped, by their bus addresses. Functions and domains of one Host can share memory; those of two know nothing of each
// other.
//
//   auto host = vfio::Host::create();
//   auto drive = host->open(bdf);                              // a pci::Function, for any driver of src/drivers
//   auto domain = host->domain(bdf);                           // a peer::DmaDomain, for the exchange
//
// Threads: any.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "base/clock.h"
#include "linux/binding/pci_sysfs.h"
#include "linux/vfio/bar_memory.h"
#include "linux/vfio/group.h"
#include "peer/dma_domain.h"

namespace barter::linux_os::vfio {

class VfioFunction;

class Host : public std::enable_shared_from_this<Host> {
 public:
  [[nodiscard]] static std::shared_ptr<Host> create(PciSysfs sysfs = PciSysfs());

  // The function, which is bound to vfio-pci. It keeps the Host alive. One owner at a time: the kernel gives a device to
  // many, but two drivers of one function would only disturb each other.
  [[nodiscard]] Result<std::unique_ptr<VfioFunction>> open(Bdf function);
  // What stands between the function's DMA and the BARs of peers that are open on this Host. The group is opened if it
  // isn't.
  [[nodiscard]] Result<std::unique_ptr<peer::DmaDomain>> domain(Bdf function);

  [[nodiscard]] base::Clock& clock() { return clock_; }
  [[nodiscard]] const PciSysfs& sysfs() const { return sysfs_; }

  // The books. Memory of this process that devices may be given: allocated by one function of this Host, or lent to it by
  // whoever owns it.
  void lend(std::span<std::byte> memory);
  void take_back(std::span<std::byte> memory);
  [[nodiscard]] bool is_lent(std::span<const std::byte> memory) const;
  void publish(const std::shared_ptr<BarMemory>& bar);
  // The BAR that holds all of this range.
  [[nodiscard]] std::shared_ptr<BarMemory> find_bar(BusAddress first, std::uint64_t bytes) const;
  [[nodiscard]] bool is_open(Bdf function) const;
  void closed(Bdf function);

 private:
  explicit Host(PciSysfs sysfs) : sysfs_(std::move(sysfs)) {}
  [[nodiscard]] Result<std::shared_ptr<Group>> group_of(Bdf function);

  PciSysfs sysfs_;
  base::SystemClock clock_;
  mutable std::mutex mutex_;
  std::map<std::uint32_t, std::weak_ptr<Group>> groups_;
  std::map<const std::byte*, std::size_t> lent_;
  std::vector<std::weak_ptr<BarMemory>> bars_;
  std::vector<Bdf> open_;
};

}  // namespace barter::linux_os::vfio
