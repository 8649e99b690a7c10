// What the fuzz targets of drivers of devices with rings share: the input decides what the device says, and when.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "barter/address.hpp"
#include "drivers/ring_device/fake_ring_device.h"
#include "input.h"

using barter::drivers::ring_device::testing::FakeCompletion;
using barter::drivers::ring_device::testing::FakeRingDevice;

// Some of these registers read as the input says.
inline void lie_at(FakeRingDevice& device, Input& input, std::initializer_list<std::uint64_t> registers) {
  for (const std::uint64_t at : registers)
    if (input.chance()) device.lies[at] = input.take<std::uint64_t>();
}

inline void choose_habits(FakeRingDevice& device, Input& input) {
  device.never_ready = input.chance();
  device.never_disabled = input.chance();
  device.never_runs = input.chance();
  device.never_stops = input.chance();
}

// From here on completions are changed or lost. Until on_completion is taken back, the input must live.
inline void spoil_completions(FakeRingDevice& device, Input& input) {
  device.on_completion = [&input](FakeCompletion& entry) {
    if (input.chance()) entry.word ^= input.take<std::uint32_t>();
    if (input.chance()) entry.place ^= input.take<std::uint32_t>();
    if (input.chance()) entry.result = input.take<std::uint64_t>();
    return !input.chance();
  };
}

// Between two commands: a register more may lie, and the device may leave. Then time goes on.
inline void pass_time(FakeRingDevice& device, Input& input) {
  if (input.chance()) device.lies[input.take<std::uint16_t>() & 0x10fcu] = input.take<std::uint64_t>();
  if (input.chance()) device.is_gone = true;
  device.now_ns += 1000;
  device.step();
}

inline std::vector<barter::DmaSegment> take_segments(Input& input) {
  std::vector<barter::DmaSegment> all(input.take<std::uint8_t>() & 31);
  for (barter::DmaSegment& segment : all) {
    segment.address.value = input.chance() ? input.take<std::uint64_t>() : input.take<std::uint16_t>();
    segment.bytes = input.chance() ? input.take<std::uint64_t>() : input.take<std::uint8_t>();
    if (input.chance()) segment.kind = static_cast<barter::SegmentKind>(input.take<std::uint8_t>() & 3);
  }
  return all;
}
