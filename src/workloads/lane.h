// Moves bytes between one drive and one accelerator's memory, several pieces at a time: straight into mapped memory, or by way of a
// host buffer and the accelerator's own copy engine. Both ways share all else, so that they can be compared.
//
// A haul that goes direct takes a lease for each piece. When the owner has taken the memory back, the rest of the haul goes by way
// of host memory, and the haul says why; under P2p::required that is an error.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "barter/memory.hpp"
#include "barter/policy.hpp"
#include "barter/result.hpp"
#include "base/clock.h"
#include "machine/endpoint.h"
#include "pci/function.h"
#include "workloads/pairs.h"

namespace barter::workloads {

// Whole blocks, and what became of them.
struct Haul {
  machine::Direction direction = machine::Direction::from_endpoint;  // of the drive: from it is loading
  std::uint64_t drive_offset = 0;
  std::uint64_t memory_offset = 0;  // within the pair's region
  std::uint64_t bytes = 0;
  bool by_host = false;
  std::string why_host;  // empty: the caller wished it so
};

class Lane {
 public:
  static constexpr std::uint32_t kPieces = 8;  // in flight
  static constexpr std::uint64_t kPieceBytes = std::uint64_t{512} << 10;

  // The pair and the hauls outlive the lane.
  [[nodiscard]] static Result<std::unique_ptr<Lane>> create(const Pair& pair, std::span<Haul> hauls, P2p policy);
  ~Lane();

  // Starts what may be started, and takes what has ended. Tells whether anything has.
  [[nodiscard]] Result<bool> step(bool may_start);
  [[nodiscard]] bool is_done() const { return next_haul_ == hauls_.size() && in_flight_ == 0; }
  [[nodiscard]] bool is_quiet() const { return in_flight_ == 0; }
  [[nodiscard]] std::uint64_t started_bytes() const { return started_bytes_; }

 private:
  enum class Phase : std::uint8_t { idle, only, first, second };  // `only`: direct
  struct Piece {
    Phase phase = Phase::idle;
    const Haul* haul = nullptr;
    std::uint64_t offset = 0;  // within the haul
    std::uint64_t bytes = 0;
    Lease lease;
  };
  // A piece's host memory, as the drive's DMA sees it and as the accelerator's does.
  struct Buffer {
    pci::DmaBuffer of_drive;
    pci::DmaBuffer of_accelerator;  // the same bytes; goes first
  };
  Lane(const Pair& pair, std::span<Haul> hauls, P2p policy);
  [[nodiscard]] Result<void> open();
  [[nodiscard]] Result<void> make_buffers();
  // False: there is no piece to start, or no place for it.
  [[nodiscard]] Result<bool> start();
  [[nodiscard]] Result<void> submit(std::size_t index);
  [[nodiscard]] Result<bool> reap(machine::Endpoint& endpoint);
  [[nodiscard]] Result<void> ended(std::size_t index);
  [[nodiscard]] bool drive_goes_first(const Haul& haul) const;

  const Pair& pair_;
  const std::span<Haul> hauls_;
  const P2p policy_;
  std::size_t next_haul_ = 0;
  std::uint64_t next_offset_ = 0;  // within that haul
  std::uint64_t started_bytes_ = 0;
  std::uint32_t in_flight_ = 0;
  std::uint64_t piece_bytes_ = kPieceBytes;
  std::vector<DmaSegment> segments_;  // scratch
  std::array<machine::PieceResult, kPieces> results_;
  std::array<Piece, kPieces> pieces_;
  std::array<Buffer, kPieces> buffers_;
  bool has_buffers_ = false;
  // The last members, and so the first to go: afterwards nothing of them is in flight.
  std::unique_ptr<machine::Endpoint> drive_;
  std::unique_ptr<machine::Endpoint> accelerator_;  // opened when bytes go by way of host memory
};

// Which bytes a second may be started, of all lanes together; 0: as many as can be.
struct Pace {
  double bytes_per_second = 0;
  std::function<bool()> stop;  // asked between pieces; empty: never
};
// Runs all of them to their end, or until the pace says stop: then what is in flight is finished, and nothing is started.
[[nodiscard]] Result<void> run_lanes(std::span<const std::unique_ptr<Lane>> lanes, base::Clock& clock,
                                     const Pace& pace = {});

}  // namespace barter::workloads
