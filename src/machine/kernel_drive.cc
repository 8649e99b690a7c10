#include "machine/kernel_drive.h"

#include <utility>

#include "machine/kernel_endpoint.h"

namespace barter::machine {

KernelDrive::KernelDrive(KernelPaths& paths, std::string name, linux_os::FilePlace place,
                         std::shared_ptr<linux_os::KernelImporter> importer)
    : paths_(paths), name_(std::move(name)), place_(std::move(place)), importer_(std::move(importer)) {}

Result<std::unique_ptr<Endpoint>> KernelDrive::open_endpoint(std::uint32_t capacity) {
  return KernelEndpoint::create(paths_, name_, place_, importer_.get(), capacity);
}

}  // namespace barter::machine
