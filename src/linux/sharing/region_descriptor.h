// What stands for a region between processes: a file descriptor that nobody can make but the kernel for us.
//
// It is an empty, sealed memory file. Its identity is that of its inode, which no other file has as long as ours is open here.
// Whoever holds it can pass it on, as with every descriptor; that is what it is for.
#pragma once
#include <sys/types.h>

#include <compare>

#include "barter/result.hpp"
#include "linux/descriptor.h"

namespace barter::linux_os::sharing {

struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  friend constexpr auto operator<=>(const FileIdentity&, const FileIdentity&) = default;
};

[[nodiscard]] Result<Descriptor> make_region_descriptor();
// Of any descriptor whatever; an error if it is none.
[[nodiscard]] Result<FileIdentity> identity_of(const Descriptor& descriptor);

}  // namespace barter::linux_os::sharing
