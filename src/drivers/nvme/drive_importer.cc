#include "drivers/nvme/drive_importer.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "pci/config_header.h"

namespace barter::drivers::nvme {

DriveImporter::DriveImporter(Controller& controller, peer::DmaDomain& domain, OnInvalidate on_invalidate)
    : controller_(&controller),
      domain_(&domain),
      bdf_(controller.function().bdf()),
      on_invalidate_(std::move(on_invalidate)) {}

void DriveImporter::on_invalidate(OnInvalidate callback) {
  const std::lock_guard lock(mutex_);
  on_invalidate_ = std::move(callback);
}

bool DriveImporter::was_invalidated(peer::MappingId mapping) const {
  const std::lock_guard lock(mutex_);
  const auto count = static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(invalidations_, kRemembered));
  return std::find(invalidated_.begin(), invalidated_.begin() + count, mapping) != invalidated_.begin() + count;
}

void DriveImporter::invalidate(peer::MappingId mapping) {
  const std::lock_guard lock(mutex_);
  invalidated_[invalidations_++ % kRemembered] = mapping;
  if (on_invalidate_) on_invalidate_(mapping);
}

void DriveImporter::on_progress(std::function<void()> callback) {
  const std::lock_guard lock(mutex_);
  on_progress_ = std::move(callback);
  progress_thread_ = std::this_thread::get_id();
}

void DriveImporter::make_progress() {
  std::function<void()> callback;
  {
    // The callback runs without the lock: it may complete commands, and what that leads to may come back here. It can't
    // be cleared meanwhile, because the thread that would clear it is this one.
    const std::lock_guard lock(mutex_);
    if (progress_thread_ != std::this_thread::get_id()) return;
    callback = on_progress_;
  }
  if (callback) callback();
}

Result<void> DriveImporter::isolate() {
  pci::Function& function = controller_->function();
  auto command = function.read_config(pci::Command::kOffset, 2);
  if (!command) return fail(std::move(command.error()));
  // A function that is gone reads as all ones, and makes no requests.
  if (*command == 0xffff) return {};
  const auto now = pci::Command::from(static_cast<std::uint16_t>(*command));
  if (auto done = function.write_config(pci::Command::kOffset, 2, now.with(pci::Command::bus_master, false).raw); !done)
    return done;
  // Reading it back waits until the write has arrived, and says whether it was taken.
  auto after = function.read_config(pci::Command::kOffset, 2);
  if (!after) return fail(std::move(after.error()));
  if (*after != 0xffff && pci::Command::from(static_cast<std::uint16_t>(*after)).get(pci::Command::bus_master))
    return fail({.code = ErrorCode::device_failed,
                 .doing = "taking bus mastering from",
                 .subject = bdf_.to_string(),
                 .why = fmt::format("its Command register still reads {:#06x}", *after),
                 .cure = "reset the drive"});
  return {};
}

}  // namespace barter::drivers::nvme
