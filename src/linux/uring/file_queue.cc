#include "linux/uring/file_queue.h"

#include <liburing.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "linux/system_error.h"

namespace barter::linux_os {
namespace {

constexpr std::uint32_t kNone = 0xffffffff;

// A request in flight. What the kernel reads while it works on it stays here.
struct Slot {
  FileRequest request;
  std::array<iovec, FileQueue::kMaxPieces> pieces{};
  std::uint32_t first_piece = 0;  // with bytes left
  std::uint32_t piece_count = 0;
  std::uint64_t done_bytes = 0;
  const void* memory = nullptr;  // where it begins, whatever is done by now
  std::uint32_t next_free = kNone;
};

struct Buffer {
  std::span<std::byte> memory;
  std::uint32_t index = 0;  // in the kernel's table
};

// NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel's drives take addresses of the program for bus addresses
std::byte* pointer_of(DmaAddress address) { return reinterpret_cast<std::byte*>(address.value); }

}  // namespace

struct FileQueue::Ring {
  io_uring uring{};
  bool is_set_up = false;
  int descriptor = -1;
  bool has_file = false;     // registered, as number 0
  bool has_buffers = false;  // a table of buffers
  bool defers = false;
  std::vector<Slot> slots;
  std::uint32_t first_free = kNone;
  std::uint32_t in_flight = 0;
  std::vector<std::uint32_t> again;  // slots whose request the kernel has done in part
  std::vector<Buffer> buffers;       // by address
  std::vector<std::uint32_t> free_buffers;
  std::optional<Error> broken;

  ~Ring() {
    if (is_set_up) io_uring_queue_exit(&uring);
  }
  Result<void> set_up(std::uint32_t entries, const CompletionSignal& signal);
  void start(std::uint32_t index);
  void enter(unsigned wait_for);
  const Buffer* buffer_of(std::span<const std::byte> memory) const;
  std::optional<FileOutcome> finish(std::uint32_t index, std::int32_t result);
};

namespace {

Error set_up_error(int number) {
  Error error = system_error(number, "setting up", "io_uring");
  if (number == ENOSYS || number == EPERM) {
    error.why = number == ENOSYS ? "this kernel has no io_uring" : "this user, or this container, may not use io_uring";
    error.cure = "look at /proc/sys/kernel/io_uring_disabled and at the container's seccomp profile";
  }
  return error;
}

}  // namespace

Result<void> FileQueue::Ring::set_up(std::uint32_t entries, const CompletionSignal& signal) {
  // The best first: work on completions when we look for them; then without interrupting us; then as it was at first.
  int failed = 0;
  for (const unsigned flags : {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
                               IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0U}) {
    io_uring_params wanted{};
    wanted.flags = flags | IORING_SETUP_CLAMP;
    failed = io_uring_queue_init_params(entries, &uring, &wanted);
    if (failed == 0) {
      is_set_up = true;
      defers = (flags & IORING_SETUP_DEFER_TASKRUN) != 0;
      break;
    }
    if (failed != -EINVAL) break;
  }
  if (failed != 0) return fail(set_up_error(-failed));
  if (failed = io_uring_register_eventfd(&uring, signal.descriptor()); failed != 0)
    return fail(system_error(-failed, "registering", "an event with io_uring"));
  has_file = io_uring_register_files(&uring, &descriptor, 1) == 0;
  has_buffers = io_uring_register_buffers_sparse(&uring, kMaxBuffers) == 0;
  if (has_buffers)
    for (std::uint32_t index = kMaxBuffers; index > 0; --index) free_buffers.push_back(index - 1);
  return {};
}

FileQueue::FileQueue(std::unique_ptr<Ring> ring) : ring_(std::move(ring)) {}

Result<std::unique_ptr<FileQueue>> FileQueue::create(int descriptor, const CompletionSignal& signal, Options options) {
  const std::uint32_t capacity = std::clamp<std::uint32_t>(options.capacity, 1, kMaxEntries);
  auto ring = std::make_unique<Ring>();
  ring->descriptor = descriptor;
  if (auto done = ring->set_up(capacity, signal); !done) return std::unexpected(std::move(done.error()));
  ring->slots.resize(capacity);
  for (std::uint32_t index = capacity; index > 0; --index)
    ring->slots[index - 1].next_free = std::exchange(ring->first_free, index - 1);
  ring->again.reserve(capacity);
  ring->buffers.reserve(kMaxBuffers);
  return std::unique_ptr<FileQueue>(new FileQueue(std::move(ring)));
}

FileQueue::~FileQueue() {
  std::array<FileOutcome, 16> outcomes;
  ring();
  while (ring_->in_flight > 0 && !ring_->broken) {
    wait();
    static_cast<void>(poll(outcomes));
  }
}

void FileQueue::wait() {
  if (ring_->in_flight > 0) ring_->enter(1);
}

std::uint32_t FileQueue::capacity() const { return static_cast<std::uint32_t>(ring_->slots.size()); }
std::uint32_t FileQueue::in_flight() const { return ring_->in_flight; }

Result<void> FileQueue::submit(const FileRequest& request) {
  const auto refuse = [](ErrorCode code, std::string why) {
    return fail({.code = code, .doing = "queueing a request to the kernel", .why = std::move(why)});
  };
  if (ring_->broken) return fail(*ring_->broken);
  if (request.memory.empty() || request.memory.size() > kMaxPieces)
    return refuse(ErrorCode::invalid_argument,
                  fmt::format("its memory has {} segments; 1 to {} are possible", request.memory.size(), kMaxPieces));
  std::uint64_t bytes = 0;
  for (const DmaSegment& segment : request.memory) {
    if (segment.bytes == 0 || segment.bytes > kMaxRequestBytes - bytes)
      return refuse(ErrorCode::invalid_argument, "a segment is empty, or all are too large together");
    bytes += segment.bytes;
  }
  if (request.at_least == 0 || request.at_least > bytes)
    return refuse(ErrorCode::invalid_argument,
                  fmt::format("{} of {} bytes are wanted, which is not possible", request.at_least, bytes));
  if (ring_->first_free == kNone) return refuse(ErrorCode::exhausted, "as many requests as there can be are in flight");
  const std::uint32_t index = ring_->first_free;
  Slot& slot = ring_->slots[index];
  ring_->first_free = slot.next_free;
  slot.request = request;
  slot.piece_count = 0;
  for (const DmaSegment& segment : request.memory)
    slot.pieces[slot.piece_count++] = {.iov_base = pointer_of(segment.address), .iov_len = segment.bytes};
  slot.request.memory = {};  // the caller's; pieces has it now
  slot.first_piece = 0;
  slot.done_bytes = 0;
  slot.memory = slot.pieces.front().iov_base;
  ++ring_->in_flight;
  ring_->start(index);
  return {};
}

const Buffer* FileQueue::Ring::buffer_of(std::span<const std::byte> memory) const {
  auto after = std::upper_bound(buffers.begin(), buffers.end(), memory.data(),
                                [](const std::byte* at, const Buffer& buffer) { return at < buffer.memory.data(); });
  if (after == buffers.begin()) return nullptr;
  const Buffer& buffer = *std::prev(after);
  const bool within = memory.data() + memory.size() <= buffer.memory.data() + buffer.memory.size();
  return within ? &buffer : nullptr;
}

// Queues what is left of a request.
void FileQueue::Ring::start(std::uint32_t index) {
  Slot& slot = slots[index];
  io_uring_sqe* const entry = io_uring_get_sqe(&uring);
  assert(entry != nullptr && "the ring has an entry for each slot");
  const int file = has_file ? 0 : descriptor;
  const std::uint64_t offset = slot.request.offset + slot.done_bytes;
  const iovec* const pieces = slot.pieces.data() + slot.first_piece;
  const std::uint32_t count = slot.piece_count - slot.first_piece;
  const auto length = static_cast<unsigned>(pieces->iov_len);
  const Buffer* const buffer = count == 1 && !buffers.empty()
                                   ? buffer_of({static_cast<std::byte*>(pieces->iov_base), pieces->iov_len})
                                   : nullptr;
  if (buffer != nullptr) {
    const auto number = static_cast<int>(buffer->index);
    slot.request.writes ? io_uring_prep_write_fixed(entry, file, pieces->iov_base, length, offset, number)
                        : io_uring_prep_read_fixed(entry, file, pieces->iov_base, length, offset, number);
  } else if (count == 1) {
    slot.request.writes ? io_uring_prep_write(entry, file, pieces->iov_base, length, offset)
                        : io_uring_prep_read(entry, file, pieces->iov_base, length, offset);
  } else {
    slot.request.writes ? io_uring_prep_writev(entry, file, pieces, count, offset)
                        : io_uring_prep_readv(entry, file, pieces, count, offset);
  }
  if (has_file) entry->flags |= IOSQE_FIXED_FILE;
  io_uring_sqe_set_data64(entry, index);
}

void FileQueue::ring() {
  for (const std::uint32_t index : ring_->again) ring_->start(index);
  ring_->again.clear();
  if (io_uring_sq_ready(&ring_->uring) > 0) ring_->enter(0);
}

void FileQueue::Ring::enter(unsigned wait_for) {
  while (true) {
    const int result = io_uring_submit_and_wait(&uring, wait_for);
    if (result >= 0 || result == -EBUSY || result == -EAGAIN)
      return;  // the next poll() makes room, and then comes ring()
    if (result == -EINTR) continue;
    broken = system_error(-result, "submitting to", "io_uring");
    return;
  }
}

// What has become of a slot: an outcome, or nothing while there is more to do.
std::optional<FileOutcome> FileQueue::Ring::finish(std::uint32_t index, std::int32_t result) {
  Slot& slot = slots[index];
  std::uint16_t status = 0;
  if (result == -EINTR || result == -EAGAIN) {
    again.push_back(index);
    return std::nullopt;
  }
  if (result < 0) {
    status = static_cast<std::uint16_t>(-result);
  } else if (result == 0) {
    status = kEndOfFile;
  } else {
    auto left = static_cast<std::uint64_t>(result);
    slot.done_bytes += left;
    if (slot.done_bytes < slot.request.at_least) {
      while (slot.first_piece < slot.piece_count && left >= slot.pieces[slot.first_piece].iov_len)
        left -= slot.pieces[slot.first_piece++].iov_len;
      iovec& piece = slot.pieces[slot.first_piece];
      piece.iov_base = static_cast<std::byte*>(piece.iov_base) + left;
      piece.iov_len -= left;
      again.push_back(index);
      return std::nullopt;
    }
  }
  slot.next_free = std::exchange(first_free, index);
  --in_flight;
  return FileOutcome{.tag = slot.request.tag, .status = status, .memory = slot.memory};
}

Result<std::size_t> FileQueue::poll(std::span<FileOutcome> outcomes) {
  if (ring_->broken) return fail(*ring_->broken);
  std::size_t count = 0;
  std::array<io_uring_cqe*, 64> completions;
  while (count < outcomes.size()) {
    const unsigned wanted = static_cast<unsigned>(std::min(completions.size(), outcomes.size() - count));
    const unsigned found = io_uring_peek_batch_cqe(&ring_->uring, completions.data(), wanted);
    if (found == 0) break;
    for (io_uring_cqe* const completion : std::span(completions).first(found)) {
      const auto index = static_cast<std::uint32_t>(io_uring_cqe_get_data64(completion));
      assert(index < ring_->slots.size());
      if (auto outcome = ring_->finish(index, completion->res)) outcomes[count++] = *outcome;
    }
    io_uring_cq_advance(&ring_->uring, found);
  }
  // What the last ring() could not hand over, and what is done in part, goes on here: nobody else knows of it.
  if (!ring_->again.empty() || io_uring_sq_ready(&ring_->uring) > 0) ring();
  if (ring_->broken) return fail(*ring_->broken);
  return count;
}

bool FileQueue::add_buffer(std::span<std::byte> memory) {
  if (ring_->free_buffers.empty()) return false;
  const iovec place{.iov_base = memory.data(), .iov_len = memory.size()};
  const std::uint32_t index = ring_->free_buffers.back();
  if (io_uring_register_buffers_update_tag(&ring_->uring, index, &place, nullptr, 1) != 1) return false;
  ring_->free_buffers.pop_back();
  const auto after =
      std::upper_bound(ring_->buffers.begin(), ring_->buffers.end(), memory.data(),
                       [](const std::byte* at, const Buffer& buffer) { return at < buffer.memory.data(); });
  ring_->buffers.insert(after, {memory, index});
  return true;
}

void FileQueue::forget_buffer(std::span<std::byte> memory) {
  const auto found =
      std::ranges::find_if(ring_->buffers, [&](const Buffer& buffer) { return buffer.memory.data() == memory.data(); });
  if (found == ring_->buffers.end()) return;
  const iovec nothing{};
  if (io_uring_register_buffers_update_tag(&ring_->uring, found->index, &nothing, nullptr, 1) == 1)
    ring_->free_buffers.push_back(found->index);
  ring_->buffers.erase(found);
}

std::string FileQueue::grants() const {
  return fmt::format("{}, {}, {}", ring_->has_file ? "registered file" : "plain file",
                     ring_->has_buffers ? "registered buffers" : "plain buffers",
                     ring_->defers ? "deferred completions" : "completions by interruption");
}

bool may_refuse_peer_memory(std::uint16_t status) { return status == EREMOTEIO || status == EINVAL; }

std::string describe_file_status(std::uint16_t status) {
  switch (status) {
    case 0:
      return "done";
    case FileQueue::kEndOfFile:
      return "the file ends before: something has made it shorter meanwhile";
    case EREMOTEIO:
      return "the kernel does not hand memory of a peer to this block device (EREMOTEIO)";
    case EINVAL:
      return "the kernel refuses the request (EINVAL): it does not map that memory for this drive, or offset, size or "
             "memory are not "
             "as the drive wants them";
    case EFAULT:
      return "the memory is not there (EFAULT): it has been taken back";
    case ENODEV:
    case ENXIO:
      return "the drive is gone (ENODEV)";
    case EIO:
      return "the drive or its driver reports a failure (EIO); the kernel's log says which";
    case ENOSPC:
      return "there is no room left (ENOSPC)";
    case EROFS:
      return "it may be read only (EROFS)";
    case ETIMEDOUT:
      return "the drive has not answered in time (ETIMEDOUT)";
    default:
      return fmt::format("{} (error {})", std::generic_category().message(status), status);
  }
}

}  // namespace barter::linux_os
