#include "machine/vfio_drives.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "linux/vfio/function.h"
#include "machine/nvme_endpoint.h"

namespace barter::machine {
namespace {

constexpr std::string_view kVfioDriver = "vfio-pci";

}  // namespace

Result<std::unique_ptr<DriveUnit>> VfioDrives::bring_up(std::string_view name) {
  const auto bdf = Bdf::parse(name);
  if (!bdf || !host_->sysfs().exists(*bdf)) return nullptr;
  const auto driver = host_->sysfs().driver(*bdf);
  if (!driver)
    return fail({.code = ErrorCode::refused,
                 .doing = "opening the drive",
                 .subject = bdf->to_string(),
                 .why = "no driver holds it",
                 .cure = fmt::format(
                     "barter bind {0} vfio-pci to drive it from here, barter bind {0} nvme to let Linux drive it",
                     bdf->to_string())});
  if (*driver != kVfioDriver) return nullptr;

  auto domain = host_->domain(*bdf);
  if (!domain) return std::unexpected(std::move(domain.error()));
  auto function = host_->open(*bdf);
  if (!function) return std::unexpected(std::move(function.error()));
  // The other drive of a copy may be the kernel's, which takes any memory of this process.
  (*function)->accept_memory_of_this_process();
  {
    const std::lock_guard lock(mutex_);
    functions_[*bdf] = function->get();
  }
  domains_[*bdf] = std::move(*domain);
  auto unit = std::make_unique<DriveUnit>();
  unit->bdf = *bdf;
  unit->name = bdf->to_string();
  NvmeDrive drive{.function = std::move(*function), .domain = *domains_[*bdf], .reserve = {}, .options = {}};
  if (auto up = machine::bring_up(*unit, std::move(drive)); !up) {
    {
      const std::lock_guard lock(mutex_);
      functions_.erase(*bdf);
    }
    domains_.erase(*bdf);
    return std::unexpected(std::move(up.error()));
  }
  return unit;
}

bool VfioDrives::is_empty() const {
  const std::lock_guard lock(mutex_);
  return functions_.empty();
}

// Nothing is held while a function takes its memory back, which may wait for others.
void VfioDrives::heed_removal_requests() {
  std::vector<linux_os::vfio::VfioFunction*> open;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [bdf, function] : functions_)
      if (host_->is_open(bdf)) open.push_back(function);  // drives may be gone before this object is
  }
  for (linux_os::vfio::VfioFunction* const function : open) function->heed_removal_request();
}

void VfioDrives::joined(const DriveUnit& drive, const std::weak_ptr<peer::Exchange>& exchange) {
  const std::lock_guard lock(mutex_);
  const auto found = functions_.find(drive.bdf);
  if (found == functions_.end() || !drive.exporter) return;
  found->second->on_memory_leaving([exporter = drive.exporter.get(), exchange] {
    const auto alive = exchange.lock();
    if (alive) (void)alive->revoke_all(*exporter);
  });
}

}  // namespace barter::machine
