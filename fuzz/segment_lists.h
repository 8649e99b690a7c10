// Lists of segments as the specifications of the DMA engine and of the NIC have them, laid out in the memory of a BusHost.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "bus_host.h"
#include "input.h"

// In the memory, or a little behind it, most of the time.
inline std::uint64_t take_address(Input& input) {
  const auto where = input.take<std::uint32_t>();
  return (where & 15) == 15 ? input.take<std::uint64_t>() : where >> 4 & 0x3ffff;
}

// A list that adds up, unless a bit of it is changed. Gives the number of its segments.
inline std::uint16_t lay_out(BusHost& host, Input& input, std::uint64_t at, std::uint64_t bytes) {
  struct {
    std::uint64_t address;
    std::uint32_t bytes, reserved;
  } segment{};
  std::uint16_t count = 0;
  while (bytes != 0 && count < 9) {
    segment.address = take_address(input);
    segment.bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, input.take<std::uint16_t>() | 1u));
    if (count == 7) segment.bytes = static_cast<std::uint32_t>(bytes);
    bytes -= segment.bytes;
    if (input.take<std::uint8_t>() == 7) segment.bytes ^= input.take<std::uint32_t>();
    if (input.take<std::uint8_t>() == 7) segment.reserved = 1;
    std::memcpy(host.memory.data() + at + count++ * 16u, &segment, 16);
  }
  return count;
}
