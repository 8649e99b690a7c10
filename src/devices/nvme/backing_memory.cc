#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "devices/anonymous_memory.h"
#include "devices/nvme/backing.h"

namespace barter::devices::nvme {
namespace {

class MemoryBacking final : public Backing {
 public:
  explicit MemoryBacking(AnonymousMemory memory) : owner_(std::move(memory)) { memory_ = owner_.bytes(); }

  std::uint64_t size_bytes() const override { return memory_.size(); }
  bool is_read_only() const override { return false; }
  Result<void> read(std::uint64_t offset, std::span<std::byte> into) override {
    std::memcpy(into.data(), memory_.data() + offset, into.size());
    return {};
  }
  Result<void> write(std::uint64_t offset, std::span<const std::byte> from) override {
    std::memcpy(memory_.data() + offset, from.data(), from.size());
    return {};
  }
  Result<void> flush() override { return {}; }
  // The operating system promises memory without having it; nothing that can be done here changes that.
  Result<void> reserve(std::uint64_t, std::uint64_t) override { return {}; }
  Result<void> zero(std::uint64_t offset, std::uint64_t bytes) override {
    owner_.zero(offset, bytes);
    return {};
  }

 private:
  AnonymousMemory owner_;
};

}  // namespace

Result<void> Backing::zero(std::uint64_t offset, std::uint64_t bytes) {
  static constexpr std::array<std::byte, 65536> kZeros{};
  while (bytes != 0) {
    const std::size_t part = std::min<std::uint64_t>(bytes, kZeros.size());
    if (auto written = write(offset, std::span(kZeros).first(part)); !written) return written;
    offset += part;
    bytes -= part;
  }
  return {};
}

Result<std::unique_ptr<Backing>> create_memory_backing(std::uint64_t bytes) {
  if (bytes == 0) {
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "making a drive in memory",
                 .why = "it would have no bytes",
                 .cure = "give it a size"});
  }
  auto memory = AnonymousMemory::create(bytes);
  if (!memory) return fail(std::move(memory.error()));
  return std::make_unique<MemoryBacking>(std::move(*memory));
}

}  // namespace barter::devices::nvme
