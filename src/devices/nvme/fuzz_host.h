// What the NVMe fuzz targets share: the input as a stream, and a host whose memory and whose failures come from it.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "devices/nvme/controller.h"
#include "fabric/device.h"

namespace barter::devices::nvme {

// Zeros when it has run out.
class FuzzInput {
 public:
  FuzzInput(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const std::byte*>(data), size) {}
  [[nodiscard]] bool is_empty() const { return rest_.empty(); }
  template <class T>
  T take() {
    T value{};
    fill(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void fill(std::span<std::byte> into) {
    const std::size_t bytes = into.size() < rest_.size() ? into.size() : rest_.size();
    if (bytes != 0) std::memcpy(into.data(), rest_.data(), bytes);
    rest_ = rest_.subspan(bytes);
  }

 private:
  std::span<const std::byte> rest_;
};

class FuzzHost final : public fabric::Requester {
 public:
  static constexpr std::uint64_t kBytes = 0x20000;  // of memory, from address 0 on

  explicit FuzzHost(FuzzInput& input) : input_(input), memory_(kBytes), mood_(input.take<std::uint8_t>()) {}

  void fill_from_input() { input_.fill(memory_); }
  void place(std::uint64_t at, std::span<const std::byte> bytes) {
    std::memcpy(memory_.data() + at, bytes.data(), bytes.size());
  }

  fabric::Completion read(DmaAddress from, std::span<std::byte> into) override {
    const auto status = check(from.value, into.size());
    if (status == fabric::Completion::successful) std::memcpy(into.data(), memory_.data() + from.value, into.size());
    return status;
  }
  fabric::Completion write(DmaAddress to, std::span<const std::byte> from) override {
    const auto status = check(to.value, from.size());
    if (status == fabric::Completion::successful) std::memcpy(memory_.data() + to.value, from.data(), from.size());
    return status;
  }
  Run run(DmaAddress at, std::uint64_t bytes, Access) override {
    if (at.value >= kBytes) return {{}, fabric::Completion::unsupported_request};
    if ((mood_ & 1) != 0 && at.value >= 0x18000) return {};  // registers
    std::uint64_t part = bytes < kBytes - at.value ? bytes : kBytes - at.value;
    if ((mood_ & 2) != 0) {
      const std::uint64_t to_edge = 1000 - at.value % 1000;
      if (part > to_edge) part = to_edge;
    }
    if (const auto status = check(at.value, part); status != fabric::Completion::successful) return {{}, status};
    return {std::span(memory_).subspan(at.value, part)};
  }
  void interrupt(unsigned) override {}
  void windows_changed() override {}
  bool may_master() const override { return true; }
  std::optional<BusAddress> bar_address(unsigned) const override { return std::nullopt; }

 private:
  fabric::Completion check(std::uint64_t at, std::uint64_t bytes) {
    if (at >= kBytes || bytes > kBytes - at) return fabric::Completion::unsupported_request;
    if ((mood_ & 0xfc) == 0) return fabric::Completion::successful;
    return ++requests_ % (mood_ & 0xfcu) == 3 ? fabric::Completion::poisoned : fabric::Completion::successful;
  }
  FuzzInput& input_;
  std::vector<std::byte> memory_;
  const std::uint8_t mood_;
  std::uint64_t requests_ = 0;
};

inline std::unique_ptr<fabric::Device> make_fuzz_controller(FuzzInput& input) {
  const auto flags = input.take<std::uint16_t>();
  ControllerSetup setup;
  for (const std::uint32_t block_bytes : {512u, 4096u}) {
    auto backing = create_memory_backing(64 << 10);
    if (!backing) std::abort();
    setup.namespaces.push_back({std::move(*backing), block_bytes});
  }
  setup.cmb_bytes = 0x4000;
  setup.max_queues = 3;
  setup.max_queue_entries = 64;
  setup.max_transfer_bytes = 1 << 16;
  setup.sgl = (flags & 1) != 0;
  setup.cmb = {.submission_queues = (flags & 2) != 0,
               .completion_queues = (flags & 4) != 0,
               .lists = (flags & 8) != 0,
               .read_data = (flags & 0x10) != 0,
               .write_data = (flags & 0x20) != 0,
               .queue_mixed = (flags & 0x40) != 0,
               .lists_mixed = (flags & 0x80) != 0,
               .list_apart_from_command = (flags & 0x100) != 0,
               .data_mixed = (flags & 0x200) != 0};
  if ((flags & 0x400) != 0) setup.misbehaviour.late_completions = 0.5;
  if ((flags & 0x800) != 0) setup.misbehaviour.lost_completions = 0.2;
  auto made = create_controller(std::move(setup));
  if (!made) std::abort();
  return std::move(*made);
}

// Enabled, with the admin queues of 16 entries at 0 and at 4000h, and the memory buffer at 18000h.
inline void start_fuzz_controller(fabric::Device& controller) {
  controller.write_register(0, {0x24}, 4, 0x000f000f);
  controller.write_register(0, {0x28}, 8, 0);
  controller.write_register(0, {0x30}, 8, 0x4000);
  controller.write_register(0, {0x50}, 8, 0x18003);
  controller.write_register(0, {0x14}, 4, 0x00460001);
  while (controller.step()) {
  }
}

// Makes both data pointers of an entry point into the host's memory, most of the time at whole pages.
inline void point_into_memory(std::span<std::byte, 64> entry, FuzzInput& input) {
  for (const std::size_t at : {24u, 32u}) {
    const auto where = input.take<std::uint16_t>();
    std::uint64_t pointer = std::uint64_t{where % 36u} * 4096;
    if (where % 7 == 0) pointer += where & 0xffc;
    std::memcpy(entry.data() + at, &pointer, sizeof(pointer));
  }
}

}  // namespace barter::devices::nvme
