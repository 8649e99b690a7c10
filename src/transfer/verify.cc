#include "transfer/verify.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#include <fmt/format.h>

namespace barter::transfer {
namespace {

// One side of the comparison: a buffer and what is under way to it.
class Reader {
 public:
  static Result<Reader> create(machine::Endpoint& endpoint, std::uint64_t offset, std::uint64_t buffer_bytes) {
    auto buffer = endpoint.allocate(buffer_bytes);
    if (!buffer) return std::unexpected(std::move(buffer.error()));
    return Reader(endpoint, offset, std::move(*buffer));
  }

  // Starts to read the next `bytes` into the buffer.
  void start(std::uint64_t bytes) {
    bytes_ = bytes;
    submitted_ = 0;
  }

  [[nodiscard]] bool is_done() const { return submitted_ == bytes_ && in_flight_ == 0; }

  // Submits what there is room for and takes what has come. Tells whether anything happened.
  [[nodiscard]] Result<bool> step() {
    bool must_ring = false;
    while (submitted_ < bytes_ && in_flight_ < endpoint_->capacity()) {
      const std::uint64_t piece = std::min(bytes_ - submitted_, endpoint_->max_piece_bytes());
      const DmaSegment memory{buffer_.address() + submitted_, piece};
      auto submitted = endpoint_->submit({.direction = machine::Direction::from_endpoint,
                                          .offset = offset_ + submitted_,
                                          .bytes = piece,
                                          .memory = {&memory, 1}});
      if (!submitted) return std::unexpected(std::move(submitted.error()));
      submitted_ += piece;
      ++in_flight_;
      must_ring = true;
    }
    if (must_ring) endpoint_->ring();
    if (in_flight_ == 0) return must_ring;
    std::array<machine::PieceResult, 64> results;
    const auto count = endpoint_->poll(results);
    if (!count) return std::unexpected(count.error());
    for (const machine::PieceResult& result : std::span(results).first(*count)) {
      --in_flight_;
      if (result.ok()) continue;
      return fail({.code = ErrorCode::device_failed,
                   .doing = "reading back from",
                   .subject = endpoint_->name(),
                   .where = fmt::format("offset {}", offset_),
                   .why = endpoint_->describe(result.status)});
    }
    return must_ring || *count > 0;
  }

  // The bytes of the last start(), once it is done; moves on behind them.
  [[nodiscard]] std::span<const std::byte> take() {
    offset_ += bytes_;
    return buffer_.bytes().first(bytes_);
  }

 private:
  Reader(machine::Endpoint& endpoint, std::uint64_t offset, pci::DmaBuffer buffer)
      : endpoint_(&endpoint), offset_(offset), buffer_(std::move(buffer)) {}

  machine::Endpoint* endpoint_;
  std::uint64_t offset_;
  pci::DmaBuffer buffer_;
  std::uint64_t bytes_ = 0;
  std::uint64_t submitted_ = 0;
  std::uint32_t in_flight_ = 0;
};

}  // namespace

Result<std::optional<std::uint64_t>> first_difference(const Job& job, base::Clock& clock) {
  auto source = Reader::create(job.source, job.source_offset, job.shape.chunk_bytes);
  if (!source) return std::unexpected(std::move(source.error()));
  auto destination = Reader::create(job.destination, job.destination_offset, job.shape.chunk_bytes);
  if (!destination) return std::unexpected(std::move(destination.error()));
  for (std::uint64_t done = 0; done < job.bytes;) {
    const std::uint64_t bytes = std::min(job.shape.chunk_bytes, job.bytes - done);
    source->start(bytes);
    destination->start(bytes);
    while (!source->is_done() || !destination->is_done()) {
      const auto one = source->step();
      if (!one) return std::unexpected(one.error());
      const auto other = destination->step();
      if (!other) return std::unexpected(other.error());
      if (!*one && !*other) clock.idle();
    }
    const auto expected = source->take();
    const auto found = destination->take();
    if (std::memcmp(expected.data(), found.data(), bytes) != 0) {
      const auto differ = std::ranges::mismatch(expected, found);
      return std::optional(done + static_cast<std::uint64_t>(differ.in1 - expected.begin()));
    }
    done += bytes;
  }
  return std::nullopt;
}

}  // namespace barter::transfer
