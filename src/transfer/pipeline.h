// The engine of a copy: chunks move from the source into a slot of staging memory and on to the destination, several at a
// time. Each chunk that goes direct takes a lease for each of its two phases; when the owner has taken the memory back,
// the lease is refused, and the chunk starts again from the source by way of host memory.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "barter/copy.hpp"
#include "barter/result.hpp"
#include "base/clock.h"
#include "machine/endpoint.h"
#include "transfer/staging.h"

namespace barter::transfer {

// What is to be moved.
struct Job {
  machine::Endpoint& source;
  machine::Endpoint& destination;
  std::uint64_t source_offset = 0;
  std::uint64_t destination_offset = 0;
  std::uint64_t bytes = 0;
  StagingShape shape;  // slots: chunks in flight at most; device memory may have fewer, and smaller ones
};

// How it is to be moved.
struct Manner {
  // Makes (or, after the owner has taken it back, makes again) the direct staging; empty: everything goes through host
  // memory, on the caller's wish.
  std::function<DirectStagingResult()> stage;
  bool direct_only = false;  // an error instead of a fallback
  std::function<void(CopyProgress)> progress;
};

// What went through the memory of one device.
struct Through {
  const machine::DriveUnit* provider = nullptr;
  std::uint64_t bytes = 0;
};

struct Outcome {
  std::vector<Through> direct;
  std::uint64_t host_bytes = 0;
  std::vector<Fallback> fallbacks;
};

class Pipeline {
 public:
  Pipeline(Job job, Manner manner, base::Clock& clock);

  // Moves everything, or says why not and how far it came. When it returns, nothing of it is in flight, unless the error
  // is that a drive no longer answers: is_quiet() tells.
  [[nodiscard]] Result<Outcome> run();

  // Finishes what is in flight and starts nothing. For the owner of the memory that waits on this very thread, which it
  // can do from the progress callback.
  void drain();

  [[nodiscard]] bool is_quiet() const { return in_flight_ == 0; }

 private:
  enum class Phase : std::uint8_t { idle, reading, read, writing };
  struct Slot {
    Phase phase = Phase::idle;
    std::uint64_t offset = 0;  // of the chunk within the copy
    std::uint64_t bytes = 0;
    std::uint64_t submitted = 0;             // bytes of this phase that commands have been made for
    std::uint32_t in_flight = 0;             // commands of this phase
    std::uint16_t status = 0;                // the first failure of this phase
    std::shared_ptr<DirectStaging> staging;  // null: by way of host memory
    std::optional<HostPool::Bounce> bounce;  // by way of host memory: the buffer
    Lease lease;                             // of this phase, if direct
  };
  struct Side {
    machine::Endpoint& endpoint;
    std::uint64_t offset = 0;
    std::uint32_t in_flight = 0;
    bool must_ring = false;
  };

  [[nodiscard]] Result<void> step();
  [[nodiscard]] std::uint32_t usable_slots() const;
  [[nodiscard]] std::uint32_t most_writing() const;  // slots at a time
  [[nodiscard]] Result<void> start_chunks();
  [[nodiscard]] Result<void> start_reading(std::uint32_t index);
  [[nodiscard]] Result<void> start_writing(std::uint32_t index);
  [[nodiscard]] Result<void> lose_direct(std::uint32_t index, Error error);
  [[nodiscard]] Result<void> go_by_host(std::uint32_t index, const NotStaged& why);
  [[nodiscard]] Result<void> stage_again();
  [[nodiscard]] Result<void> submit_pieces(std::uint32_t index);
  template <class Done>
  [[nodiscard]] Result<std::size_t> poll(Side& side, Done&& done);
  [[nodiscard]] Result<std::size_t> reap(Side& side);
  void settle();
  [[nodiscard]] Result<void> finish_phase(std::uint32_t index, const Side& side);
  void count(const Slot& slot);
  [[nodiscard]] Error with_progress(Error error) const;
  [[nodiscard]] std::span<const DmaSegment> view(std::uint32_t index) const;

  Side source_;
  Side destination_;
  std::uint64_t bytes_;
  StagingShape shape_;
  Manner manner_;
  base::Clock& clock_;
  base::Patience patience_{clock_};

  std::shared_ptr<DirectStaging> direct_;
  NotStaged why_not_direct_;        // of the last try to stage
  std::unique_ptr<HostPool> host_;  // made when first needed; outlives the slots
  peer::FallbackLog fallbacks_;
  std::uint64_t host_chunks_since_try_ = 0;
  std::vector<Slot> slots_;
  std::uint32_t writing_ = 0;             // slots
  std::vector<DmaSegment> piece_memory_;  // scratch for submit_pieces
  std::uint64_t next_offset_ = 0;         // of the first chunk not started yet
  std::uint64_t done_bytes_ = 0;
  std::uint32_t in_flight_ = 0;
  std::optional<Error> broken_;  // what drain() could not return
  Outcome outcome_;
};

}  // namespace barter::transfer
