// Ordinary memory of the process as an exporter: what is behind managed memory. With that, the same contract holds for its
// pages wherever they are: consent, leases, invalidation, and what is done to those who don't let go.
//
// It lies on no function. Its name in verdicts and errors is kHostMemory, and whoever answers for routes knows it: every
// request to it goes to the host bridge.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "peer/exporter.h"

namespace barter::peer {

inline constexpr Bdf kHostMemory{.domain = 0xffffffff, .bus = 0xff, .device = 0x1f, .function = 7};

// Where the memory is for devices: an address on the bus, or one of this process where the kernel makes the DMA addresses.
struct HostPlace {
  BusAddress address;
  bool is_known_by_pointer = false;
};

class HostPages final : public Exporter {
 public:
  // The bytes outlive it.
  HostPages(std::span<std::byte> bytes, HostPlace place) : bytes_(bytes), place_(place) {}

  [[nodiscard]] Bdf function() const override { return kHostMemory; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return bytes_.size(); }
  [[nodiscard]] BusAddress bus_address() const override { return place_.address; }
  [[nodiscard]] bool is_known_by_pointer() const override { return place_.is_known_by_pointer; }
  [[nodiscard]] bool is_on_offer() const override { return false; }
  [[nodiscard]] Access hardware_access() const override { return Access::read_write; }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange range) override {
    return bytes_.subspan(range.offset, range.bytes);
  }
  // Whoever was given the pointer was given the memory.
  [[nodiscard]] Answer decide(const Request&) override { return Answer::direct(); }

 private:
  std::span<std::byte> bytes_;
  HostPlace place_;
};

}  // namespace barter::peer
