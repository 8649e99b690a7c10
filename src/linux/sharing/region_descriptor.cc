#include "linux/sharing/region_descriptor.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "linux/system_error.h"

namespace barter::linux_os::sharing {

Result<Descriptor> make_region_descriptor() {
  Descriptor made(memfd_create("barter-region", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!made.is_open()) return fail(system_error(errno, "making", "a descriptor for a region"));
  // So that it can't become a way to pass bytes, or to use up memory in our name.
  if (fcntl(made.number(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    return fail(system_error(errno, "sealing", "a descriptor for a region"));
  return made;
}

Result<FileIdentity> identity_of(const Descriptor& descriptor) {
  struct stat status{};
  if (fstat(descriptor.number(), &status) != 0)
    return fail(system_error(errno, "looking at", "a descriptor for a region"));
  return FileIdentity{status.st_dev, status.st_ino};
}

}  // namespace barter::linux_os::sharing
