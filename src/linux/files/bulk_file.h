// A file or block device, opened for large transfers.
//
// Writing to a block device asks for it exclusively (O_EXCL): the kernel refuses while it, its disk or one of its partitions is
// mounted, swap, or held by another block device, and while this is open nobody can mount it. Files are written as any
// program writes them: two writers of one file are their owners' business.
#pragma once
#include <cstdint>
#include <string>

#include "barter/result.hpp"
#include "linux/descriptor.h"
#include "linux/files/file_place.h"

namespace barter::linux_os {

class BulkFile {
 public:
  // Past the page cache where the file system can; is_direct() tells.
  [[nodiscard]] static Result<BulkFile> open_to_read(const FilePlace& place);
  // The same for writing as well. Makes the file if there is none, as cp would.
  [[nodiscard]] static Result<BulkFile> open_to_write(const SystemRoots& roots, const FilePlace& place);

  [[nodiscard]] int descriptor() const { return file_.number(); }
  [[nodiscard]] bool is_direct() const { return is_direct_; }
  [[nodiscard]] bool was_made() const { return was_made_; }

  // Blocks for this part of a file, and the file at least that long. Nothing for a block device.
  [[nodiscard]] Result<void> reserve(std::uint64_t offset, std::uint64_t bytes);
  // Takes a file that was made here away again.
  void remove();
  // The file ends here from now on.
  [[nodiscard]] Result<void> set_size(std::uint64_t bytes);

 private:
  BulkFile(const FilePlace& place, Descriptor file, bool is_direct, bool was_made)
      : path_(place.path.string()),
        kind_(place.kind),
        file_(std::move(file)),
        is_direct_(is_direct),
        was_made_(was_made) {}

  std::string path_;
  PathKind kind_;
  Descriptor file_;
  bool is_direct_;
  bool was_made_;
};

}  // namespace barter::linux_os
