// Ordinary memory that lives where it is used: a range of the process's address space whose pages move to devices and back.
//
//   auto memory = barter::ManagedMemory::create(*machine, 1_GiB);
//   std::span<std::byte> bytes = memory->bytes();       // an ordinary pointer
//   fill(bytes);                                        // the CPU writes: pages in host memory
//   memory->move_to(gpu, {.offset = 0, .bytes = 512_MiB});
//   barter::read(drive, {.offset = 0}, bytes.first(2_MiB));  // any pointer: straight into the accelerator's pages
//   use(bytes[7]);                                      // a touch brings that page back, importers drained first
//
// A touch is any load or store by any thread of the program, and nothing need be changed for it. It waits until the page is
// back. Where the kernel does not let the program answer for it (kernel_touches_wait() is false), a system call that is handed
// a page which lives in a device fails with EFAULT; touch the page first.
//
// Nothing is lost when pages move: whoever has a page mapped is told to let go, its transfers end or are cut off, and what it
// wrote is in the page afterwards. One thing can lose bytes: a device that leaves while pages live in it. They are lost for
// good, and that is said at once: ManagedOptions::on_lost is told, every call that needs the pages fails with device_gone,
// and a touch ends in SIGBUS, as of a mapped file that was cut short; it never hangs, and never reads made-up bytes. renew()
// puts pages of zeros in their place.
//
// Lifetime: the memory keeps its machine alive. When it goes, no thread may touch it any more, and its mappings are revoked.
//
// Threads: all of it, on a machine that runs threaded. On one that runs in steps, one thread at a time may use the machine
// and touch its managed memory.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <barter/machine.hpp>
#include <barter/memory.hpp>
#include <barter/result.hpp>
#include <barter/units.hpp>

namespace barter {

namespace machine {
class ManagedUnit;
}
namespace peer {
class ManagedPages;
}

enum class PageState : std::uint8_t {
  host,
  moving,  // at this moment
  device,
  lost,  // its device has left with it
};

// Pages one after the other that are in one place.
struct Residence {
  MemoryRange range;
  PageState state = PageState::host;
  Bdf device;  // where they are, or were when they were lost
};

struct ManagedCounters {
  std::uint64_t faults = 0;  // touches that waited
  std::uint64_t pages_to_device = 0;
  std::uint64_t pages_to_host = 0;     // of them those that
  std::uint64_t pages_by_touch = 0;    // the program has touched,
  std::uint64_t pages_by_refusal = 0;  // an importer could not reach where they were
  std::uint64_t pages_lost = 0;
  std::uint64_t late_importers = 0;  // cut off because they held on to pages that were to move
};

struct ManagedPart {
  MemoryRange range;       // within the managed memory
  bool is_direct = false;  // in a device's memory; else in host memory
  Bdf exporter;            // the device
  Mapping mapping;
};

// An importer's right to reach a range of managed memory, in as many parts as its pages are in places. A lease is of all of
// them, so that a transfer sees one moment.
class ManagedMapping {
 public:
  explicit ManagedMapping(std::vector<ManagedPart> parts) : parts_(std::move(parts)) {}
  [[nodiscard]] std::span<const ManagedPart> parts() const { return parts_; }
  [[nodiscard]] std::vector<ManagedPart> take_parts() && { return std::move(parts_); }
  // One for each part, in order. ErrorCode::revoked once a page of it has moved or is to move: then map it again.
  [[nodiscard]] Result<std::vector<Lease>> lease() const;

 private:
  std::vector<ManagedPart> parts_;
};

struct ManagedOptions {
  // How long a touch waits for importers of its page before they are cut off.
  Duration touch_deadline = std::chrono::milliseconds(100);
  // Told once of bytes that are gone, and why; on any thread. It must not touch them.
  std::function<void(MemoryRange, const Error&)> on_lost;
};

struct MoveOptions {
  Duration deadline = std::chrono::seconds(10);
};

class ManagedMemory {
 public:
  // Rounded up to whole pages of 4 KiB; zero, and in host memory. ErrorCode::unsupported or refused where the kernel has no
  // userfaultfd(2), or doesn't allow it: the error says what to do.
  [[nodiscard]] static Result<ManagedMemory> create(const Machine& machine, std::uint64_t bytes,
                                                    ManagedOptions options = {});
  ManagedMemory(ManagedMemory&&) noexcept;
  ManagedMemory& operator=(ManagedMemory&&) noexcept;
  ~ManagedMemory();

  [[nodiscard]] std::span<std::byte> bytes() const;
  // Does the kernel wait, too, when it touches a page for the program, as in read(2)?
  [[nodiscard]] bool kernel_touches_wait() const;

  // Moves the pages that the range touches; those that are there stay. Without bytes, to the end. After an error (the device
  // is full, an importer holds pages pinned, a device left) each page is where it was or where it was to go, and nothing is
  // lost that the error doesn't say.
  [[nodiscard]] Result<void> move_to(const Provider& device, MemoryRange range = {}, MoveOptions options = {});
  [[nodiscard]] Result<void> move_to_host(MemoryRange range = {}, MoveOptions options = {});
  [[nodiscard]] Result<std::vector<Residence>> where(MemoryRange range = {}) const;

  // The right for a device's DMA to reach a range, by the decision of whoever owns the memory that its pages are in: pages in
  // a device direct, or, where the owner says so or there is no way, in host memory, after they have moved there. Offset and
  // bytes need not be whole pages.
  [[nodiscard]] Result<ManagedMapping> map(const Drive& importer, MapOptions options = {}) const;
  [[nodiscard]] Result<ManagedMapping> map(const DmaEngine& importer, MapOptions options = {}) const;

  // Pages that were lost are host pages again, all zero.
  [[nodiscard]] Result<void> renew(MemoryRange range = {});

  [[nodiscard]] ManagedCounters counters() const;

  // For the library's own rooms.
  [[nodiscard]] peer::ManagedPages& pages() const;

 private:
  explicit ManagedMemory(std::unique_ptr<machine::ManagedUnit> unit);
  std::unique_ptr<machine::ManagedUnit> unit_;
};

}  // namespace barter
