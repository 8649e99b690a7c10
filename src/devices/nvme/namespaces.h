// The controller's namespaces, numbered from 1, all of them attached and active.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "barter/result.hpp"
#include "devices/nvme/backing.h"
#include "devices/nvme/commands.h"
#include "devices/nvme/status.h"

namespace barter::devices::nvme {

struct Namespace {
  std::unique_ptr<Backing> backing;
  std::uint32_t id = 0;
  std::uint32_t block_log2 = 9;
  std::uint64_t blocks = 0;
  bool is_read_only = false;

  // Base 2.0 and NVM command set 1.0, LBA Out of Range: past the end, however large the numbers.
  [[nodiscard]] bool contains(std::uint64_t first_block, std::uint64_t count) const {
    return count <= blocks && first_block <= blocks - count;
  }
};

class Namespaces {
 public:
  explicit Namespaces(std::vector<Namespace> namespaces) : namespaces_(std::move(namespaces)) {}

  // Null if there is no namespace of that number.
  [[nodiscard]] Namespace* find(std::uint32_t id) {
    return id - 1 < namespaces_.size() ? &namespaces_[id - 1] : nullptr;  // 0 wraps around and is not found
  }
  [[nodiscard]] const std::vector<Namespace>& all() const { return namespaces_; }
  [[nodiscard]] std::uint32_t count() const { return static_cast<std::uint32_t>(namespaces_.size()); }

  // Makes everything durable that was written.
  [[nodiscard]] Status flush(std::uint32_t id) {
    for (Namespace& each : namespaces_) {
      if (id != kAllNamespaces && id != each.id) continue;
      if (auto flushed = each.backing->flush(); !flushed)
        return failed(std::move(flushed.error()), status::kWriteFault);
    }
    return status::kSuccess;
  }

  // Keeps what the operating system said, for whoever reports the failed command, and gives back its status.
  Status failed(Error error, Status status) {
    const std::scoped_lock lock(mutex_);
    last_error_ = std::move(error);
    return status;
  }
  // Any thread.
  [[nodiscard]] std::optional<Error> last_error() const {
    const std::scoped_lock lock(mutex_);
    return last_error_;
  }

 private:
  std::vector<Namespace> namespaces_;
  mutable std::mutex mutex_;
  std::optional<Error> last_error_;
};

}  // namespace barter::devices::nvme
