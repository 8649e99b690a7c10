// A drive's first namespace as an Endpoint.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "drivers/nvme/controller.h"
#include "machine/endpoint.h"
#include "machine/state.h"

namespace barter::machine {

class NvmeEndpoint final : public Endpoint {
 public:
  // The drive and the backend outlive the endpoint.
  [[nodiscard]] static Result<std::unique_ptr<NvmeEndpoint>> create(DriveUnit& drive, Backend& backend,
                                                                    std::uint32_t capacity);

  [[nodiscard]] const std::string& name() const override { return drive_.name; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return space_.size_bytes(); }
  [[nodiscard]] std::uint32_t block_bytes() const override { return space_.block_bytes; }
  [[nodiscard]] std::uint64_t max_piece_bytes() const override { return max_piece_bytes_; }
  [[nodiscard]] std::uint32_t capacity() const override { return queue_->capacity(); }
  [[nodiscard]] bool is_read_only() const override { return space_.write_protected; }
  [[nodiscard]] Result<void> reserve(std::uint64_t offset, std::uint64_t bytes) override;
  [[nodiscard]] Result<void> submit(const Piece& piece) override;
  void ring() override { queue_->ring(); }
  [[nodiscard]] Result<std::size_t> poll(std::span<PieceResult> results) override;
  [[nodiscard]] std::string describe(std::uint16_t status) const override;
  [[nodiscard]] Result<pci::DmaBuffer> allocate(std::uint64_t bytes) override;
  [[nodiscard]] Result<pci::DmaBuffer> share(const pci::DmaBuffer& other) override;

 private:
  NvmeEndpoint(DriveUnit& drive, Backend& backend, const drivers::nvme::NamespaceFacts& space,
               std::unique_ptr<drivers::nvme::QueuePair> queue);

  DriveUnit& drive_;
  Backend& backend_;
  drivers::nvme::NamespaceFacts space_;
  std::uint64_t max_piece_bytes_;
  std::unique_ptr<drivers::nvme::QueuePair> queue_;
  std::vector<drivers::nvme::CommandResult> results_;  // scratch for poll
};

}  // namespace barter::machine
