// The files of a run where they belong: on the drives of its pairs, with memory of the accelerators for them, and what their
// checksums must be.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "barter/machine.hpp"
#include "barter/result.hpp"
#include "barter/workloads.hpp"
#include "workloads/files.h"
#include "workloads/lane.h"
#include "workloads/pairs.h"

namespace barter::workloads {

class Dataset {
 public:
  // Chooses the pairs, maps their memory as the policy says, and writes the files to the drives. The machine outlives it.
  [[nodiscard]] static Result<Dataset> create(const Machine& machine, const WorkloadOptions& options);

  [[nodiscard]] std::span<const Pair> pairs() const { return pairs_; }
  [[nodiscard]] std::span<const File> files() const { return files_; }

  // Each file between its memory and its place on the drive: the first one, or that of the checkpoint behind all files. By pair, in
  // the order of the files.
  [[nodiscard]] std::vector<std::vector<Haul>> hauls(machine::Direction direction, bool in_checkpoint) const;
  // Lanes for them, but for pairs that have none. `hauls` outlives them.
  [[nodiscard]] Result<std::vector<std::unique_ptr<Lane>>> lanes(std::vector<std::vector<Haul>>& hauls,
                                                                 P2p policy) const;

  // Whether the memory holds each file, by the accelerators' own checksums.
  [[nodiscard]] Result<std::vector<bool>> right_files() const;
  // All of the memory reads as zeros.
  [[nodiscard]] Result<void> clear() const;

 private:
  Dataset(const Machine& machine, const WorkloadOptions& options) : machine_(&machine), options_(options) {}
  [[nodiscard]] Result<void> plan();
  [[nodiscard]] Result<void> write_files(std::size_t pair);

  const Machine* machine_;
  WorkloadOptions options_;
  std::vector<Pair> pairs_;
  std::vector<File> files_;
  std::vector<std::uint64_t> pair_bytes_;
  std::vector<std::uint64_t> expected_;  // checksums, by file
};

}  // namespace barter::workloads
