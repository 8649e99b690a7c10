// Reads and writes of one drive, into and out of memory that it has mapped, or of whatever a pointer points to; and what a DMA
// engine moves between memories that it has mapped.
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
#include <string>

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
// The same with memory of several mappings, as if they were one after the other. They may be of different devices, and reached
// by different routes; one command of the drive may serve several of them. An error before anything was moved, if the drive
// can't go on from one to the next: to be sure, let each begin and end at a 4 KiB page.
[[nodiscard]] Result<void> read(const Drive& drive, DrivePart from, std::span<const Lease> into);
[[nodiscard]] Result<void> write(const Drive& drive, DrivePart to, std::span<const Lease> from);

// Which way the bytes of a transfer to or from a pointer went.
struct IoReport {
  std::uint64_t direct_bytes = 0;  // between the drive and the memory of a device
  std::uint64_t host_bytes =
      0;  // between the drive and host memory that it reaches: nobody copies them. That is managed
          // memory, and on `host` all that is aligned as the drive or file system wants it
  std::uint64_t copied_bytes = 0;  // by way of a buffer in host memory
  std::uint32_t parts = 0;         // how many pieces of memory it was
  // Of the first piece that went by way of a buffer though it belongs to a device or is managed: what its owner, or the machine, had
  // against DMA to it. Empty: there was none.
  std::string why_copied;
};

// Any pointer: the program's own memory, device memory that a region shows (Region::cpu_bytes), managed memory (managed.hpp),
// and a mixture of them. What it points to is looked up, and each part goes the shortest way that its owner and the machine
// allow: to where the bytes are, or by way of a buffer. An owner that refuses has decided about other devices' DMA; a program that
// has the pointer can copy, and so does this. Blocks of the drive that lie across two kinds of it go by way of a buffer.
// `bytes` is 0 or the size of the span. After an error a part may have been moved.
[[nodiscard]] Result<IoReport> read(const Drive& drive, DrivePart from, std::span<std::byte> into);
[[nodiscard]] Result<IoReport> write(const Drive& drive, DrivePart to, std::span<const std::byte> from);

// What a DMA engine is told to move.
struct MovePart {
  std::uint64_t bytes = 0;        // 0: all of the smaller one of the two, from the offsets on
  std::uint64_t from_offset = 0;  // within the leased memory
  std::uint64_t to_offset = 0;
};

// Both leases are of mappings by this engine, `from` with Access::read and `to` with Access::write. They must live until the call
// returns. The two ranges must not overlap; they may be of one region, of two, or of different devices.
[[nodiscard]] Result<void> move_bytes(const DmaEngine& engine, const Lease& from, const Lease& to, MovePart part = {});
// The same with memory of several mappings, as if they were one after the other: of a registration (registration.hpp), for one.
[[nodiscard]] Result<void> move_bytes(const DmaEngine& engine, std::span<const Lease> from, std::span<const Lease> to,
                                      MovePart part = {});

}  // namespace barter
