// A block device or a file as an Endpoint: requests go through io_uring, past the page cache where the file system can.
//
// It is opened for reading, and for writing not before something is to be written: a copy never needs the right to write its
// source. A file takes a last piece that ends within a block, at the file's end; what is written behind that is cut off.
//
// Buffers that it has given out go before it does.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "linux/files/bulk_file.h"
#include "linux/uring/file_queue.h"
#include "machine/endpoint.h"
#include "machine/kernel_drive.h"

namespace barter::machine {

// What offsets and sizes must be multiples of: the device's blocks, or what the file system asks for.
[[nodiscard]] std::uint32_t block_bytes_of(const linux_os::FilePlace& place);

class KernelEndpoint final : public Endpoint {
 public:
  // All arguments outlive the endpoint; the importer may be null. The capacity is in requests of 4 MiB, each of which may be
  // several pieces.
  [[nodiscard]] static Result<std::unique_ptr<KernelEndpoint>> create(KernelPaths& paths, const std::string& name,
                                                                      const linux_os::FilePlace& place,
                                                                      linux_os::KernelImporter* importer,
                                                                      std::uint32_t capacity);

  ~KernelEndpoint() override;
  KernelEndpoint(const KernelEndpoint&) = delete;
  KernelEndpoint& operator=(const KernelEndpoint&) = delete;

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return place_.size_bytes; }
  [[nodiscard]] std::uint32_t block_bytes() const override { return block_bytes_; }
  [[nodiscard]] std::uint64_t max_piece_bytes() const override { return max_piece_bytes_; }
  [[nodiscard]] std::uint32_t capacity() const override { return capacity_; }
  [[nodiscard]] peer::SegmentLimits segment_limits() const override {
    return {.max_segments = linux_os::FileQueue::kMaxPieces};
  }
  [[nodiscard]] bool is_read_only() const override;
  [[nodiscard]] Result<void> reserve(std::uint64_t offset, std::uint64_t bytes) override;
  [[nodiscard]] Result<void> end_at(std::uint64_t bytes) override;
  [[nodiscard]] Result<void> submit(const Piece& piece) override;
  void ring() override;
  [[nodiscard]] Result<std::size_t> poll(std::span<PieceResult> results) override;
  [[nodiscard]] std::string describe(std::uint16_t status) const override;
  [[nodiscard]] Result<pci::DmaBuffer> allocate(std::uint64_t bytes) override;
  [[nodiscard]] Result<pci::DmaBuffer> share(const pci::DmaBuffer& other) override;
  [[nodiscard]] std::optional<pci::DmaBuffer> lend(std::span<std::byte> memory) override;

 private:
  struct Failure {
    std::uint16_t status = 0;
    const void* memory = nullptr;
  };

  KernelEndpoint(KernelPaths& paths, const std::string& name, const linux_os::FilePlace& place,
                 linux_os::KernelImporter* importer, std::uint32_t capacity);
  [[nodiscard]] Result<void> use(linux_os::BulkFile file);
  [[nodiscard]] Result<void> become_writable();
  void settle();
  [[nodiscard]] bool is_still_there() const;
  [[nodiscard]] bool is_host_memory(std::uint64_t address) const;
  [[nodiscard]] PieceResult finish(const linux_os::FileOutcome& outcome);
  [[nodiscard]] pci::DmaBuffer give_out(std::span<std::byte> memory, std::uint64_t bytes, bool is_own);

  KernelPaths& paths_;
  const std::string& name_;
  const linux_os::FilePlace& place_;
  linux_os::KernelImporter* importer_;
  std::uint32_t block_bytes_;
  std::uint64_t max_piece_bytes_;
  std::uint32_t capacity_;  // in pieces
  bool is_writable_ = false;
  // Destroyed from the last to the first: the queue waits for what is in flight on the file.
  std::optional<linux_os::BulkFile> file_;
  std::unique_ptr<linux_os::FileQueue> queue_;
  std::vector<std::span<std::byte>> host_memory_;  // given out, by address
  std::vector<DmaSegment> memory_;                 // scratch for submit
  std::vector<linux_os::FileOutcome> outcomes_;    // scratch for poll
  std::uint64_t ragged_end_ = 0;                   // of the file, once its last block has been written
  std::string trouble_;                            // what kOwnTrouble means
  Failure last_peer_failure_;
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);  // buffers may outlive the endpoint
};

}  // namespace barter::machine
