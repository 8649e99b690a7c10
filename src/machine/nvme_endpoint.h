// A drive's first namespace as an Endpoint, and the drive that our own NVMe driver drives, wherever its function is.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "drivers/nvme/controller.h"
#include "machine/endpoint.h"
#include "machine/state.h"
#include "peer/dma_domain.h"

namespace barter::machine {

// Makes sure that writes to this part of the first namespace won't fail for want of space; see Endpoint::reserve.
using ReserveRule = std::function<Result<void>(std::uint64_t offset, std::uint64_t bytes)>;

struct NvmeDrive {
  std::unique_ptr<pci::Function> function;
  peer::DmaDomain& domain;  // outlives the unit
  ReserveRule reserve;      // empty: a drive that has its space
  drivers::nvme::ControllerOptions options;
};

// Everything that the driver does for one drive: fills in all of the unit but its name and BDF.
[[nodiscard]] Result<void> bring_up(DriveUnit& unit, NvmeDrive drive);

class NvmeEndpoint final : public Endpoint {
 public:
  // The controller outlives the endpoint.
  [[nodiscard]] static Result<std::unique_ptr<NvmeEndpoint>> create(std::string name,
                                                                    drivers::nvme::Controller& controller,
                                                                    ReserveRule reserve, std::uint32_t capacity);

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return space_.size_bytes(); }
  [[nodiscard]] std::uint32_t block_bytes() const override { return space_.block_bytes; }
  [[nodiscard]] std::uint64_t max_piece_bytes() const override { return max_piece_bytes_; }
  [[nodiscard]] std::uint32_t capacity() const override { return queue_->capacity(); }
  [[nodiscard]] peer::SegmentLimits segment_limits() const override { return queue_->segment_limits(); }
  [[nodiscard]] bool is_read_only() const override { return space_.write_protected; }
  [[nodiscard]] Result<void> reserve(std::uint64_t offset, std::uint64_t bytes) override;
  [[nodiscard]] Result<void> submit(const Piece& piece) override;
  void ring() override { queue_->ring(); }
  [[nodiscard]] Result<std::size_t> poll(std::span<PieceResult> results) override;
  [[nodiscard]] std::string describe(std::uint16_t status) const override;
  [[nodiscard]] Result<pci::DmaBuffer> allocate(std::uint64_t bytes) override;
  [[nodiscard]] Result<pci::DmaBuffer> share(const pci::DmaBuffer& other) override;

 private:
  NvmeEndpoint(std::string name, drivers::nvme::Controller& controller, ReserveRule reserve,
               std::unique_ptr<drivers::nvme::QueuePair> queue);

  std::string name_;
  drivers::nvme::Controller& controller_;
  ReserveRule reserve_;
  drivers::nvme::NamespaceFacts space_;
  std::uint64_t max_piece_bytes_;
  std::unique_ptr<drivers::nvme::QueuePair> queue_;
  std::vector<drivers::nvme::CommandResult> results_;  // scratch for poll
};

}  // namespace barter::machine
