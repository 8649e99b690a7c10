// A bus with 128 KiB of memory, from address 0 on, that fails now and then if it is in the mood: what the models of devices with rings
// are attached to.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "fabric/device.h"

class BusHost final : public barter::fabric::Requester {
 public:
  using Completion = barter::fabric::Completion;
  static constexpr std::uint64_t kBytes = 0x20000;
  explicit BusHost(std::uint8_t mood) : memory(kBytes), mood_(mood) {}
  Completion read(barter::DmaAddress from, std::span<std::byte> into) override {
    const auto status = check(from.value, into.size());
    if (status == Completion::successful) std::memcpy(into.data(), memory.data() + from.value, into.size());
    return status;
  }
  Completion write(barter::DmaAddress to, std::span<const std::byte> from) override {
    const auto status = check(to.value, from.size());
    if (status == Completion::successful) std::memcpy(memory.data() + to.value, from.data(), from.size());
    written += from.size();
    return status;
  }
  Run run(barter::DmaAddress, std::uint64_t, barter::Access) override { return {}; }
  void interrupt(unsigned) override {}
  void windows_changed() override {}
  bool may_master() const override { return true; }
  std::optional<barter::BusAddress> bar_address(unsigned) const override { return barter::BusAddress{0x1'0000'0000}; }

  std::vector<std::byte> memory;
  std::uint64_t written = 0;

 private:
  Completion check(std::uint64_t at, std::uint64_t bytes) {
    if (bytes == 0) std::abort();  // there is no such request
    if (at >= kBytes || bytes > kBytes - at) return Completion::unsupported_request;
    if (mood_ < 0x80) return Completion::successful;
    return ++requests_ % mood_ == 3 ? Completion::poisoned : Completion::successful;
  }
  const std::uint8_t mood_;
  std::uint64_t requests_ = 0;
};
