#include "linux/vfio/host.h"

#include <algorithm>
#include <utility>

#include "linux/vfio/dma_domain.h"
#include "linux/vfio/function.h"

namespace barter::linux_os::vfio {

std::shared_ptr<Host> Host::create(PciSysfs sysfs) { return std::shared_ptr<Host>(new Host(std::move(sysfs))); }

Result<std::shared_ptr<Group>> Host::group_of(Bdf function) {
  const auto number = sysfs_.iommu_group(function);
  const std::lock_guard lock(mutex_);
  if (number)
    if (auto known = groups_[*number].lock()) return known;
  auto group = Group::open(sysfs_, function);
  if (group) groups_[(*group)->number()] = *group;
  return group;
}

Result<std::unique_ptr<VfioFunction>> Host::open(Bdf function) {
  const auto refuse = [&](ErrorCode code, std::string why) {
    return fail({.code = code,
                 .doing = "opening for user space the function",
                 .subject = function.to_string(),
                 .why = std::move(why)});
  };
  if (!sysfs_.exists(function)) return refuse(ErrorCode::not_found, "this computer has no such function");
  auto group = group_of(function);
  if (!group) return fail(std::move(group.error()));
  {
    const std::lock_guard lock(mutex_);
    if (std::ranges::find(open_, function) != open_.end()) return refuse(ErrorCode::refused, "it is open already");
    open_.push_back(function);
  }
  auto opened = VfioFunction::open(shared_from_this(), std::move(*group), function);
  if (!opened) closed(function);
  return opened;
}

Result<std::unique_ptr<peer::DmaDomain>> Host::domain(Bdf function) {
  auto group = group_of(function);
  if (!group) return fail(std::move(group.error()));
  return std::make_unique<VfioDomain>(shared_from_this(), std::move(*group));
}

bool Host::is_open(Bdf function) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::find(open_, function) != open_.end();
}

void Host::closed(Bdf function) {
  const std::lock_guard lock(mutex_);
  std::erase(open_, function);
}

void Host::lend(std::span<std::byte> memory) {
  const std::lock_guard lock(mutex_);
  lent_[memory.data()] = memory.size();
}

void Host::take_back(std::span<std::byte> memory) {
  const std::lock_guard lock(mutex_);
  lent_.erase(memory.data());
}

bool Host::is_lent(std::span<const std::byte> memory) const {
  const std::lock_guard lock(mutex_);
  auto next = lent_.upper_bound(memory.data());
  if (next == lent_.begin()) return false;
  const auto& [first, bytes] = *std::prev(next);
  const auto offset = static_cast<std::size_t>(memory.data() - first);
  return offset < bytes && memory.size() <= bytes - offset;
}

void Host::publish(const std::shared_ptr<BarMemory>& bar) {
  const std::lock_guard lock(mutex_);
  std::erase_if(bars_, [](const std::weak_ptr<BarMemory>& known) { return known.expired(); });
  bars_.push_back(bar);
}

std::shared_ptr<BarMemory> Host::find_bar(BusAddress first, std::uint64_t bytes) const {
  const std::lock_guard lock(mutex_);
  for (const auto& known : bars_) {
    auto bar = known.lock();
    if (!bar || first < bar->bus_address()) continue;
    const std::uint64_t offset = first - bar->bus_address();
    if (bytes <= bar->size_bytes() && offset <= bar->size_bytes() - bytes) return bar;
  }
  return nullptr;
}

}  // namespace barter::linux_os::vfio
