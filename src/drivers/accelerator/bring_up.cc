#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "drivers/accelerator/device.h"
#include "drivers/accelerator/links.h"

namespace barter::drivers::accelerator {
namespace {

constexpr std::uint64_t kMaxMemoryBytes = std::uint64_t{1} << 52;  // what page table entries can name

// What is left of an earlier user: nobody reaches anything by a link before it is granted anew.
void close_links(Device& device) {
  for (std::uint32_t port = 0; port < device.facts.link_ports; ++port) {
    write(*device.registers, LinkControlRegister{}, link_place(port));
    for (std::uint32_t grant = 0; grant < kGrantsOfLink; ++grant)
      write(*device.registers, GrantSizeRegister{}, grant_place(port, grant));
  }
}

}  // namespace

Result<void> open_function(Device& device) {
  if (auto opened = ring_device::open_function(device); !opened) return opened;
  auto memory = device.function->map_bar(kMemoryBar);
  if (!memory) return fail(std::move(memory.error()));
  device.memory = std::move(*memory);
  return {};
}

Result<void> read_facts(Device& device) {
  if (auto known = check_identity(device); !known) return known;
  pci::Mmio& registers = *device.registers;
  AcceleratorFacts& facts = device.facts;
  facts.memory_bytes = read<MemorySize>(registers).raw;
  facts.window_bytes = read<WindowSize>(registers).raw;
  const auto engines = read<EngineCounts>(registers);
  facts.copy_channels = engines.get(EngineCounts::copy_channels);
  facts.compute_channels = engines.get(EngineCounts::compute_channels);
  const auto lie = [&](std::string why) { return fail(device.lie(std::move(why))); };
  if (facts.memory_bytes == 0 || facts.memory_bytes % kUnitBytes != 0 || facts.memory_bytes > kMaxMemoryBytes)
    return lie(fmt::format("it claims a memory of {} bytes", facts.memory_bytes));
  if (facts.window_bytes != device.memory->size_bytes())
    return lie(fmt::format("it claims a window of {} bytes, and BAR 2 has {}", facts.window_bytes,
                           device.memory->size_bytes()));
  if (!std::has_single_bit(facts.window_bytes) || facts.window_bytes < kUnitBytes)
    return lie(fmt::format("its window has {} bytes, which is no power of two from 64 KiB", facts.window_bytes));
  if (facts.copy_channels + facts.compute_channels == 0 || facts.copy_channels + facts.compute_channels > kMostChannels)
    return lie(fmt::format("it claims {} copy and {} compute channels", facts.copy_channels, facts.compute_channels));
  const auto ring = longest_ring(device, engines.get(EngineCounts::longest_ring_log2));
  if (!ring) return fail(ring.error());
  facts.max_ring_entries = *ring;
  facts.link_ports = read<LinkPortCount>(registers).get(LinkPortCount::ports);
  if (facts.link_ports > kMostLinks) return lie(fmt::format("it claims {} links", facts.link_ports));
  if (facts.link_ports != 0 && facts.memory_bytes > std::uint64_t{1} << kLinkAddressShift)
    return lie(
        fmt::format("it claims links and a memory of {} bytes, which their addresses can't name", facts.memory_bytes));
  facts.makes_page_requests =
      read<ring_device::VersionRegister>(registers).get(ring_device::VersionRegister::minor) >= kFirstWithRequests;
  // Older ones have no such register.
  if (facts.link_ports != 0) facts.unit = read<UnitRegister>(registers).raw;
  device.control_offset = std::min(facts.window_bytes, facts.memory_bytes) - kUnitBytes;
  return {};
}

Result<void> start_afresh(Device& device) {
  if (auto there = check_presence(device); !there) return there;
  if (auto off = disable(device); !off) return off;
  write(*device.registers, WindowBaseRegister{});
  write(*device.registers, TableRootRegister{});
  close_links(device);
  return enable(device);
}

}  // namespace barter::drivers::accelerator
