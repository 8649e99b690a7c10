#include "workloads/dataset.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

#include "barter/io.hpp"
#include "workloads/device_sums.h"

namespace barter::workloads {
namespace {

using machine::Direction;

// XXH64 as it comes in.
class Sum {
 public:
  Sum() : state_(XXH64_createState(), &XXH64_freeState) { XXH64_reset(state_.get(), 0); }
  void add(std::span<const std::byte> bytes) { XXH64_update(state_.get(), bytes.data(), bytes.size()); }
  [[nodiscard]] std::uint64_t value() const { return XXH64_digest(state_.get()); }

 private:
  std::unique_ptr<XXH64_state_t, decltype(&XXH64_freeState)> state_;
};

Result<void> check_drive(const machine::DriveUnit& drive, std::uint64_t bytes) {
  if (bytes > drive.size_bytes / 2)
    return fail({.code = ErrorCode::out_of_range,
                 .doing = "writing the files of the workload to",
                 .subject = drive.name,
                 .why = fmt::format("it has {} bytes, and the files and a checkpoint of them need {}", drive.size_bytes,
                                    2 * bytes),
                 .cure = "move less with --size, or use a machine with larger drives"});
  if (kFileAlignment % drive.block_bytes != 0)
    return fail({.code = ErrorCode::unsupported,
                 .doing = "writing the files of the workload to",
                 .subject = drive.name,
                 .why = fmt::format("its blocks have {} bytes", drive.block_bytes)});
  return {};
}

}  // namespace

Result<Dataset> Dataset::create(const Machine& machine, const WorkloadOptions& options) {
  Dataset made(machine, options);
  if (auto planned = made.plan(); !planned) return std::unexpected(std::move(planned.error()));
  for (std::size_t pair = 0; pair < made.pairs_.size(); ++pair)
    if (auto written = made.write_files(pair); !written) return std::unexpected(std::move(written.error()));
  return made;
}

Result<void> Dataset::plan() {
  auto pairs = make_pairs(*machine_, options_.policy);
  if (!pairs) return std::unexpected(std::move(pairs.error()));
  pairs_ = std::move(*pairs);
  files_ = make_files(options_.bytes, pairs_.size(), options_.seed);
  expected_.resize(files_.size());
  for (std::size_t index = 0; index < pairs_.size(); ++index) {
    pair_bytes_.push_back(bytes_of_pair(files_, index));
    if (pair_bytes_.back() == 0) continue;  // fewer files than pairs
    if (auto checked = check_drive(*pairs_[index].drive, pair_bytes_.back()); !checked) return checked;
    if (auto given = give_memory(*machine_, pairs_[index], pair_bytes_.back(), options_.policy); !given) return given;
  }
  return {};
}

// In images of many files, because each write by itself opens the drive anew.
Result<void> Dataset::write_files(std::size_t pair) {
  constexpr std::size_t kImageBytes = std::size_t{16} << 20;
  auto drive = machine_->drive(pairs_[pair].drive->name);
  if (!drive) return std::unexpected(std::move(drive.error()));
  std::vector<std::byte> image;
  std::uint64_t image_offset = 0;
  const auto flush = [&]() -> Result<void> {
    if (image.empty()) return {};
    const auto written = write(*drive, {.offset = image_offset}, image);
    image_offset += image.size();
    image.clear();
    return written ? Result<void>{} : std::unexpected(written.error());
  };
  for (std::size_t index = 0; index < files_.size(); ++index) {
    const File& file = files_[index];
    if (file.pair != pair) continue;
    Sum sum;
    for (std::uint64_t at = 0; at < file.span_bytes;) {
      const std::uint64_t bytes = std::min<std::uint64_t>(file.span_bytes - at, kImageBytes - image.size());
      const std::size_t begin = image.size();
      image.resize(begin + bytes);
      const auto of_file =
          std::span(image).subspan(begin, at < file.bytes ? std::min(bytes, file.bytes - at) : std::uint64_t{0});
      fill_contents(file, at, of_file);
      sum.add(of_file);
      at += bytes;
      if (image.size() == kImageBytes)
        if (auto written = flush(); !written) return written;
    }
    expected_[index] = sum.value();
  }
  return flush();
}

std::vector<std::vector<Haul>> Dataset::hauls(Direction direction, bool in_checkpoint) const {
  std::vector<std::vector<Haul>> hauls(pairs_.size());
  for (const File& file : files_)
    hauls[file.pair].push_back({.direction = direction,
                                .drive_offset = file.offset + (in_checkpoint ? pair_bytes_[file.pair] : 0),
                                .memory_offset = file.offset,
                                .bytes = file.span_bytes});
  return hauls;
}

Result<std::vector<std::unique_ptr<Lane>>> Dataset::lanes(std::vector<std::vector<Haul>>& hauls, P2p policy) const {
  std::vector<std::unique_ptr<Lane>> lanes;
  for (std::size_t pair = 0; pair < pairs_.size(); ++pair) {
    if (hauls[pair].empty()) continue;
    auto lane = Lane::create(pairs_[pair], hauls[pair], policy);
    if (!lane) return std::unexpected(std::move(lane.error()));
    lanes.push_back(std::move(*lane));
  }
  return lanes;
}

Result<std::vector<bool>> Dataset::right_files() const {
  std::vector<bool> right(files_.size());
  for (std::size_t pair = 0; pair < pairs_.size(); ++pair) {
    std::vector<MemoryRange> ranges;
    std::vector<std::size_t> indices;
    for (std::size_t index = 0; index < files_.size(); ++index) {
      if (files_[index].pair != pair) continue;
      ranges.push_back({files_[index].offset, files_[index].bytes});
      indices.push_back(index);
    }
    if (ranges.empty()) continue;
    const auto sums = device_sums(pairs_[pair], ranges);
    if (!sums) return std::unexpected(sums.error());
    for (std::size_t at = 0; at < indices.size(); ++at) right[indices[at]] = (*sums)[at] == expected_[indices[at]];
  }
  return right;
}

Result<void> Dataset::clear() const {
  for (const Pair& pair : pairs_)
    if (pair.region)
      if (auto cleared = clear_memory(pair); !cleared) return cleared;
  return {};
}

}  // namespace barter::workloads
