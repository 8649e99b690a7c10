// Reads and writes of one file or block device, many at a time: submit() queues, ring() starts what was queued, poll() takes
// what has ended. As a drive's queue pair works, with a file in the place of the drive.
//
// What the kernel is asked for at run time: a registered file (no look-up of the descriptor for each request), registered
// buffers (no look-up of the pages), completions that are worked off when we look for them and not by interrupting us (6.1).
// Each is used where the kernel takes it. Memory of peers is never taken as a registered buffer: registering pins for long,
// and the kernel refuses to pin such pages for long.
//
// Threads: one, the one that created it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "linux/uring/completion_signal.h"

namespace barter::linux_os {

// One read or write. The memory is this process's, by pointer.
struct FileRequest {
  bool writes = false;
  std::uint64_t offset = 0;  // in the file
  std::span<const DmaSegment> memory;
  std::uint64_t at_least = 0;  // as many bytes as there must be for it to be done; a file may end within the last block
  std::uint64_t tag = 0;
};

struct FileOutcome {
  std::uint64_t tag = 0;
  std::uint16_t status = 0;      // 0: done; else the kernel's error number, or kEndOfFile
  const void* memory = nullptr;  // where the request's memory begins
};

class FileQueue {
 public:
  static constexpr std::uint16_t kEndOfFile = 0x8000;  // the file has fewer bytes than asked for
  static constexpr std::uint32_t kMaxEntries = 4096;
  static constexpr std::size_t kMaxPieces = 16;      // segments of one request
  static constexpr std::uint32_t kMaxBuffers = 512;  // registered at a time
  // The kernel cuts requests at 2 GiB less a page.
  static constexpr std::uint64_t kMaxRequestBytes = std::uint64_t{1} << 30;

  struct Options {
    std::uint32_t capacity = 32;  // requests in flight, at most kMaxEntries
  };
  // The descriptor stays open, and the signal lives, for as long as the queue does.
  [[nodiscard]] static Result<std::unique_ptr<FileQueue>> create(int descriptor, const CompletionSignal& signal,
                                                                 Options options);
  // Waits for all that is in flight: the kernel holds on to the pages of its I/O, but whoever owns the memory must not use it
  // for anything else before. The kernel ends every request, if need be by resetting the drive.
  ~FileQueue();
  FileQueue(const FileQueue&) = delete;
  FileQueue& operator=(const FileQueue&) = delete;

  [[nodiscard]] std::uint32_t capacity() const;
  [[nodiscard]] std::uint32_t in_flight() const;
  // exhausted: poll first.
  [[nodiscard]] Result<void> submit(const FileRequest& request);
  void ring();
  // An error: the ring itself is broken, and nothing more comes from it.
  [[nodiscard]] Result<std::size_t> poll(std::span<FileOutcome> outcomes);

  // Sleeps until at least one request has ended, if any is in flight.
  void wait();

  // Registers memory of this process for as long as forget_buffer() has not been called. False: the kernel does not take it
  // (too much locked memory, or memory of a peer); requests to it work all the same.
  bool add_buffer(std::span<std::byte> memory);
  void forget_buffer(std::span<std::byte> memory);

  // What the kernel has granted, for people: "registered file, registered buffers, deferred completions".
  [[nodiscard]] std::string grants() const;

 private:
  struct Ring;
  explicit FileQueue(std::unique_ptr<Ring> ring);
  std::unique_ptr<Ring> ring_;
};

// An outcome's status in words: what went wrong on the way to the drive, from the drive's or the kernel's view.
[[nodiscard]] std::string describe_file_status(std::uint16_t status);
// May it mean that the kernel does not map memory of a peer? Linux before 6.16 says so by EREMOTEIO, later ones by EINVAL, which
// means other things too.
[[nodiscard]] bool may_refuse_peer_memory(std::uint16_t status);

}  // namespace barter::linux_os
