// Reads and writes of one drive, into and out of memory that it has mapped, or the program's own.
//
//   auto mapping = drive.map(*region, {.access = barter::Access::write});
//   auto lease = mapping->lease();
//   auto read = barter::read(drive, {.offset = 4096, .bytes = 1_MiB}, *lease);  // straight into the device's memory
//
// Each call waits until the drive has answered; copy.hpp keeps many commands in flight. Offsets and sizes are whole
// blocks of the drive. One thread at a time uses a machine.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include <barter/machine.hpp>
#include <barter/memory.hpp>
#include <barter/result.hpp>

namespace barter {

struct DrivePart {
  std::uint64_t offset = 0;         // on the drive
  std::uint64_t bytes = 0;          // 0: as much as the memory takes
  std::uint64_t memory_offset = 0;  // within the leased memory
};

// The lease is of a mapping by this drive: for reading from the drive one with Access::write, because the drive's DMA writes
// to the memory, and the other way round. The lease must live until the call returns, which is all that it need do.
[[nodiscard]] Result<void> read(const Drive& drive, DrivePart from, const Lease& into);
[[nodiscard]] Result<void> write(const Drive& drive, DrivePart to, const Lease& from);

// The program's own memory, by way of a buffer in host memory. `bytes` is 0 or the size of the span.
[[nodiscard]] Result<void> read(const Drive& drive, DrivePart from, std::span<std::byte> into);
[[nodiscard]] Result<void> write(const Drive& drive, DrivePart to, std::span<const std::byte> from);

}  // namespace barter
