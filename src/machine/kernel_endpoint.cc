#include "machine/kernel_endpoint.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include <fmt/format.h>

namespace barter::machine {
namespace {

using linux_os::BulkFile;
using linux_os::FileOutcome;
using linux_os::FilePlace;
using linux_os::FileQueue;
using linux_os::PathKind;

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kMostPieceBytes = std::uint64_t{4} << 20;

// Marks in a request's tag, above the tags of who submits.
constexpr std::uint64_t kPeer = std::uint64_t{1} << 63;    // to memory of a peer
constexpr std::uint64_t kRagged = std::uint64_t{1} << 62;  // a write that goes on behind the end of the file
constexpr std::uint64_t kMarks = kPeer | kRagged;

constexpr std::uint16_t kOwnTrouble = 0xffff;  // a status: what went wrong is in words

std::unexpected<Error> refuse(const std::string& name, ErrorCode code, std::string why, std::string cure = {}) {
  return fail({.code = code,
               .doing = "queueing a request for",
               .subject = name,
               .why = std::move(why),
               .cure = std::move(cure)});
}

// What the disk takes in one command. The kernel would cut larger requests, but io_uring then starts none of them at once:
// its first try may not sleep, requests that may not sleep are not cut (bio_split_rw), and a thread of the kernel's begins anew.
std::uint64_t piece_bytes_of(const FilePlace& place, std::uint32_t block_bytes) {
  const std::uint64_t most =
      place.device ? std::min(place.device->max_request_bytes, kMostPieceBytes) : kMostPieceBytes;
  const std::uint64_t unit = most < kPageBytes ? block_bytes : std::max<std::uint64_t>(block_bytes, kPageBytes);
  return std::max(most / unit * unit, std::uint64_t{block_bytes});
}

}  // namespace

std::uint32_t block_bytes_of(const FilePlace& place) {
  if (place.kind == PathKind::block_device) return place.device->block_bytes;
  if (place.direct_offset_bytes.value_or(0) != 0) return *place.direct_offset_bytes;
  return 1;
}

KernelEndpoint::KernelEndpoint(KernelPaths& paths, const std::string& name, const FilePlace& place,
                               linux_os::KernelImporter* importer, std::uint32_t capacity)
    : paths_(paths),
      name_(name),
      place_(place),
      importer_(importer),
      block_bytes_(block_bytes_of(place)),
      max_piece_bytes_(piece_bytes_of(place, block_bytes_)),
      capacity_(static_cast<std::uint32_t>(
          std::clamp<std::uint64_t>(capacity * (kMostPieceBytes / max_piece_bytes_), 1, FileQueue::kMaxEntries))),
      outcomes_(64) {
  memory_.reserve(FileQueue::kMaxPieces);
}

Result<std::unique_ptr<KernelEndpoint>> KernelEndpoint::create(KernelPaths& paths, const std::string& name,
                                                               const FilePlace& place,
                                                               linux_os::KernelImporter* importer,
                                                               std::uint32_t capacity) {
  std::unique_ptr<KernelEndpoint> endpoint(new KernelEndpoint(paths, name, place, importer, capacity));
  if (place.kind == PathKind::missing) return endpoint;  // reserve() makes it
  auto file = BulkFile::open_to_read(place);
  if (!file) return std::unexpected(std::move(file.error()));
  if (auto used = endpoint->use(std::move(*file)); !used) return std::unexpected(std::move(used.error()));
  return endpoint;
}

KernelEndpoint::~KernelEndpoint() { settle(); }

// Waits for all that is in flight. Nobody asks for the outcomes any more, but the importer counts them.
void KernelEndpoint::settle() {
  std::array<PieceResult, 16> results;
  ring();
  while (queue_ && queue_->in_flight() > 0) {
    queue_->wait();
    if (!poll(results)) return;
  }
}

Result<void> KernelEndpoint::use(BulkFile file) {
  queue_ = nullptr;
  file_.emplace(std::move(file));
  auto queue = FileQueue::create(file_->descriptor(), paths_.signal, {.capacity = capacity_});
  if (!queue) return std::unexpected(std::move(queue.error()));
  queue_ = std::move(*queue);
  for (const std::span<std::byte> memory : host_memory_) queue_->add_buffer(memory);
  return {};
}

Result<void> KernelEndpoint::become_writable() {
  if (is_writable_) return {};
  auto file = BulkFile::open_to_write(paths_.roots, place_);
  if (!file) return std::unexpected(std::move(file.error()));
  is_writable_ = true;
  return use(std::move(*file));
}

bool KernelEndpoint::is_read_only() const {
  return place_.kind == PathKind::block_device && place_.device->is_read_only;
}

Result<void> KernelEndpoint::reserve(std::uint64_t offset, std::uint64_t bytes) {
  if (auto writable = become_writable(); !writable) return writable;
  auto reserved = file_->reserve(offset, bytes);
  if (!reserved && file_->was_made()) file_->remove();
  return reserved;
}

Result<void> KernelEndpoint::end_at(std::uint64_t bytes) {
  if (auto writable = become_writable(); !writable) return writable;
  return file_->set_size(bytes);
}

bool KernelEndpoint::is_host_memory(std::uint64_t address) const {
  const auto start_of = [](std::span<std::byte> memory) { return reinterpret_cast<std::uintptr_t>(memory.data()); };
  const auto after = std::ranges::upper_bound(host_memory_, address, {}, start_of);
  return after != host_memory_.begin() && address < start_of(*std::prev(after)) + std::prev(after)->size();
}

Result<void> KernelEndpoint::submit(const Piece& piece) {
  const bool writes = piece.direction == Direction::to_endpoint;
  if (writes && !is_writable_)
    if (auto writable = become_writable(); !writable) return writable;
  if (!queue_) return refuse(name_, ErrorCode::not_found, "there is no such file yet");
  if (piece.memory.empty() || (piece.tag & kMarks) != 0)
    return refuse(name_, ErrorCode::invalid_argument, "it has no memory, or a tag that is too large");
  // Whole blocks: what lies in the memory behind a last piece is read over, or written and then cut off.
  const std::uint64_t lead = piece.bytes % block_bytes_;
  const std::uint64_t extra = lead == 0 ? 0 : block_bytes_ - lead;
  memory_.assign(piece.memory.begin(), piece.memory.end());
  memory_.back().bytes += extra;
  const bool is_peer = !is_host_memory(memory_.front().address.value);
  if (is_peer && importer_ == nullptr) return refuse(name_, ErrorCode::no_route, place_.why_not_direct, place_.cure);
  if (is_peer && !importer_->begin())
    return refuse(name_, ErrorCode::cancelled, "its drive has been cut off from the memory of peers");
  const bool ragged = writes && extra != 0;
  if (ragged) ragged_end_ = piece.offset + piece.bytes;
  auto submitted = queue_->submit({.writes = writes,
                                   .offset = piece.offset,
                                   .memory = memory_,
                                   .at_least = writes ? piece.bytes + extra : piece.bytes,
                                   .tag = piece.tag | (is_peer ? kPeer : 0) | (ragged ? kRagged : 0)});
  if (!submitted && is_peer) importer_->end();
  return submitted;
}

void KernelEndpoint::ring() {
  if (queue_) queue_->ring();
}

PieceResult KernelEndpoint::finish(const FileOutcome& outcome) {
  PieceResult result{.tag = outcome.tag & ~kMarks, .status = outcome.status};
  if ((outcome.tag & kPeer) != 0) {
    importer_->end();
    if (!result.ok()) last_peer_failure_ = {.status = outcome.status, .memory = outcome.memory};
  }
  if ((outcome.tag & kRagged) != 0 && result.ok()) {
    if (auto cut = file_->set_size(ragged_end_); !cut) {
      trouble_ = cut.error().message();
      result.status = kOwnTrouble;
    }
  }
  return result;
}

Result<std::size_t> KernelEndpoint::poll(std::span<PieceResult> results) {
  if (!queue_) return 0;
  const auto count = queue_->poll(std::span(outcomes_).first(std::min(outcomes_.size(), results.size())));
  if (!count) return count;
  for (std::size_t index = 0; index < *count; ++index) results[index] = finish(outcomes_[index]);
  return count;
}

std::string KernelEndpoint::describe(std::uint16_t status) const {
  if (status == kOwnTrouble) return trouble_;
  std::string words = linux_os::describe_file_status(status);
  // A drive that was pulled fails with whatever its remains make of a request: no room to write, nothing to read.
  if (place_.device && !is_still_there()) return fmt::format("{} is gone from the machine", place_.device->name);
  if (!linux_os::may_refuse_peer_memory(status) || last_peer_failure_.status != status) return words;
  const std::string verdict = paths_.explain_refusal(importer_->function(), last_peer_failure_.memory);
  return verdict.empty() ? words : fmt::format("{}; {}", words, verdict);
}

bool KernelEndpoint::is_still_there() const {
  const auto device = linux_os::read_block_device(paths_.roots.sys, place_.device->name);
  return device && device->number == place_.device->number && device->size_bytes == place_.device->size_bytes;
}

pci::DmaBuffer KernelEndpoint::give_out(std::span<std::byte> memory, std::uint64_t bytes, bool is_own) {
  const auto at = std::ranges::upper_bound(host_memory_, memory.data(), {}, [](auto other) { return other.data(); });
  host_memory_.insert(at, memory);
  if (queue_) queue_->add_buffer(memory);
  const std::weak_ptr<const bool> alive = alive_;
  return {memory.first(bytes), {reinterpret_cast<std::uintptr_t>(memory.data())}, [this, alive, memory, is_own] {
            if (!alive.expired()) {  // an endpoint that is gone has waited for all that was in flight
              settle();              // only after an error is there anything to wait for
              if (queue_) queue_->forget_buffer(memory);
              std::erase_if(host_memory_, [&](auto other) { return other.data() == memory.data(); });
            }
            if (is_own) ::operator delete(memory.data(), std::align_val_t{kPageBytes});
          }};
}

Result<pci::DmaBuffer> KernelEndpoint::allocate(std::uint64_t bytes) {
  const std::uint64_t whole = bytes + (-bytes % kPageBytes);
  void* const pages =
      bytes == 0 || whole < bytes ? nullptr : ::operator new(whole, std::align_val_t{kPageBytes}, std::nothrow);
  if (pages == nullptr)
    return fail({.code = ErrorCode::exhausted,
                 .doing = "allocating host memory for",
                 .subject = name_,
                 .why = fmt::format("{} bytes are not to be had", bytes)});
  std::memset(pages, 0, whole);
  return give_out({static_cast<std::byte*>(pages), whole}, bytes, true);
}

Result<pci::DmaBuffer> KernelEndpoint::share(const pci::DmaBuffer& other) {
  return give_out(other.bytes(), other.bytes().size(), false);
}

std::optional<pci::DmaBuffer> KernelEndpoint::lend(std::span<std::byte> memory) {
  const bool is_direct = file_ && file_->is_direct();
  const std::uint64_t unit = is_direct ? place_.direct_memory_bytes.value_or(block_bytes_) : 1;
  if (reinterpret_cast<std::uintptr_t>(memory.data()) % std::max<std::uint64_t>(unit, 1) != 0) return std::nullopt;
  return give_out(memory, memory.size(), false);
}

}  // namespace barter::machine
