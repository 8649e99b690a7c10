#include "linux/vfio/dma_domain.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

namespace barter::linux_os::vfio {

VfioDomain::~VfioDomain() {
  for (const auto& [address, mapped] : mapped_) forget(mapped);
}

Result<DmaAddress> VfioDomain::map(BusAddress target, std::uint64_t bytes, Access access) {
  const auto refuse = [&](ErrorCode code, std::string why) {
    return fail({.code = code,
                 .doing = "mapping the memory of a peer for",
                 .subject = fmt::format("IOMMU group {}", group_->number()),
                 .where = fmt::format("bus address {:#x}", target.value),
                 .why = std::move(why)});
  };
  const std::uint64_t lead = target.value % kPageBytes;
  if (bytes == 0 || bytes > ~std::uint64_t{0} - target.value || bytes > ~std::uint64_t{0} - lead - kPageBytes)
    return refuse(ErrorCode::invalid_argument, fmt::format("{:#x} bytes from there on are no range", bytes));
  const BusAddress first{target.value - lead};
  const std::uint64_t whole = (lead + bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  auto bar = host_->find_bar(first, whole);
  if (!bar) return refuse(ErrorCode::not_found, "no BAR of a function that is open through VFIO lies there");
  const auto view = bar->view(first - bar->bus_address(), whole);
  if (view.empty())
    return refuse(ErrorCode::unsupported,
                  "the kernel lets no process map this part of the BAR, so no peer can have it");
  // At its own bus address, if that is free: then a request reaches the memory whether a switch turns it around or the
  // IOMMU translates it.
  auto address = group_->map(view, access, DmaAddress{first.value});
  if (!address) return address;
  const std::lock_guard lock(mutex_);
  mapped_.emplace(*address + lead, Mapped{bytes, *address, whole, std::move(bar)});
  return *address + lead;
}

void VfioDomain::unmap(DmaAddress address, std::uint64_t bytes) {
  Mapped mapped;
  {
    const std::lock_guard lock(mutex_);
    const auto found = mapped_.find(address);
    if (found == mapped_.end() || found->second.asked_bytes != bytes) return;
    mapped = std::move(found->second);
    mapped_.erase(found);
  }
  forget(mapped);
}

// The caller goes on as if no request reached the memory any more. If the kernel doesn't see to that, nothing can.
void VfioDomain::forget(const Mapped& mapped) {
  const auto done = group_->unmap(mapped.first, mapped.bytes);
  if (done) return;
  (void)std::fputs((done.error().message() + "\n").c_str(), stderr);
  std::abort();
}

}  // namespace barter::linux_os::vfio
