// The seam to something that bytes come from or go to by its own DMA: a namespace of a drive, or the memory of an
// accelerator. What copies and streams needs is here, and nothing that tells a software device from a real one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "barter/units.hpp"
#include "pci/function.h"
#include "peer/segments.h"

namespace barter::machine {

enum class Direction : std::uint8_t { from_endpoint, to_endpoint };

// One command's worth of a transfer.
struct Piece {
  Direction direction = Direction::from_endpoint;
  std::uint64_t offset = 0;            // within the endpoint, in bytes; whole blocks
  std::uint64_t bytes = 0;             // whole blocks, at most max_piece_bytes()
  std::span<const DmaSegment> memory;  // where the bytes go to or come from, as this endpoint's DMA sees it
  std::uint64_t tag = 0;               // comes back with the outcome
};

struct PieceResult {
  std::uint64_t tag = 0;
  std::uint16_t status = 0;  // 0: done; otherwise describe() has the words
  [[nodiscard]] bool ok() const { return status == 0; }
};

// One thread at a time.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  [[nodiscard]] virtual std::uint32_t block_bytes() const = 0;
  [[nodiscard]] virtual std::uint64_t max_piece_bytes() const = 0;
  [[nodiscard]] virtual std::uint32_t capacity() const = 0;  // pieces in flight
  // What the memory of a piece must be like; by default, anything goes.
  [[nodiscard]] virtual peer::SegmentLimits segment_limits() const { return {}; }
  [[nodiscard]] virtual bool is_read_only() const = 0;

  // Makes sure that writes to this part won't fail for want of space, where that can be said beforehand.
  [[nodiscard]] virtual Result<void> reserve(std::uint64_t offset, std::uint64_t bytes) = 0;

  // What was copied here is the whole of it: a file ends behind its first `bytes` from now on. Nothing for a drive, whose
  // size is what it is.
  [[nodiscard]] virtual Result<void> end_at(std::uint64_t) { return {}; }

  // submit() queues, ring() starts what was queued, poll() takes what has ended. No allocation, lock or system call on the
  // way. ErrorCode::exhausted from submit(): poll first. An error from poll() is the end of this endpoint.
  [[nodiscard]] virtual Result<void> submit(const Piece& piece) = 0;
  virtual void ring() = 0;
  [[nodiscard]] virtual Result<std::size_t> poll(std::span<PieceResult> results) = 0;
  [[nodiscard]] virtual std::string describe(std::uint16_t status) const = 0;

  // Host memory for this endpoint's DMA; and another endpoint's made reachable for this one.
  [[nodiscard]] virtual Result<pci::DmaBuffer> allocate(std::uint64_t bytes) = 0;
  [[nodiscard]] virtual Result<pci::DmaBuffer> share(const pci::DmaBuffer& other) = 0;
  // The program's own memory made reachable for this endpoint's DMA, as it lies there; none where that can't be: only a driver in
  // the kernel reaches any memory of a process, and only as it is aligned.
  [[nodiscard]] virtual std::optional<pci::DmaBuffer> lend(std::span<std::byte>) { return std::nullopt; }
};

// What drives a drive. Endpoints go before it.
class EndpointFactory {
 public:
  virtual ~EndpointFactory() = default;
  [[nodiscard]] virtual Result<std::unique_ptr<Endpoint>> open_endpoint(std::uint32_t capacity) = 0;
  // May one that nobody uses stay open? Not where it keeps others from the drive, as an open file of the kernel's does.
  [[nodiscard]] virtual bool keeps_endpoints() const { return false; }
};

// For single reads and writes, kept from one to the next, because making one takes the drive several commands.
struct IdleEndpoint {
  std::unique_ptr<Endpoint> endpoint;
  pci::DmaBuffer buffer;  // for bytes that go by way of host memory; empty until some did
};

}  // namespace barter::machine
