// The memory of an accelerator as an Endpoint: bytes go to and from it by its own copy engine. What its window shows is one
// range from 0 on, the same that its exporter hands out.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "drivers/accelerator/accelerator.h"
#include "machine/endpoint.h"
#include "machine/state.h"
#include "peer/dma_domain.h"

namespace barter::machine {

struct AcceleratorParts {
  std::unique_ptr<pci::Function> function;
  peer::DmaDomain& domain;  // outlives the unit
  drivers::accelerator::AcceleratorOptions options;
};

// Everything that the driver does for one accelerator: fills in all of the unit but its name and BDF.
[[nodiscard]] Result<void> bring_up(DriveUnit& unit, AcceleratorParts parts);

class AcceleratorEndpoint final : public Endpoint {
 public:
  // The accelerator outlives the endpoint. ErrorCode::exhausted when all its copy channels are in use.
  [[nodiscard]] static Result<std::unique_ptr<AcceleratorEndpoint>> create(
      std::string name, drivers::accelerator::Accelerator& accelerator, std::uint32_t capacity);

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return shown_.bytes; }
  [[nodiscard]] std::uint32_t block_bytes() const override { return 1; }
  [[nodiscard]] std::uint64_t max_piece_bytes() const override { return kPieceBytes; }
  [[nodiscard]] std::uint32_t capacity() const override { return static_cast<std::uint32_t>(pieces_.size()); }
  [[nodiscard]] peer::SegmentLimits segment_limits() const override { return {.max_segments = channel_->capacity()}; }
  [[nodiscard]] bool is_read_only() const override { return false; }
  [[nodiscard]] Result<void> reserve(std::uint64_t, std::uint64_t) override { return {}; }
  // One command for each segment of the memory: ErrorCode::exhausted when there is no room for all of them.
  [[nodiscard]] Result<void> submit(const Piece& piece) override;
  void ring() override { channel_->ring(); }
  [[nodiscard]] Result<std::size_t> poll(std::span<PieceResult> results) override;
  [[nodiscard]] std::string describe(std::uint16_t status) const override;
  [[nodiscard]] Result<pci::DmaBuffer> allocate(std::uint64_t bytes) override;
  [[nodiscard]] Result<pci::DmaBuffer> share(const pci::DmaBuffer& other) override;

 private:
  static constexpr std::uint64_t kPieceBytes = std::uint64_t{2} << 20;
  struct Open {
    std::uint64_t tag = 0;
    std::uint32_t commands = 0;  // in flight; 0: the place is free
    std::uint16_t status = 0;    // the first failure
  };
  [[nodiscard]] Result<void> check(const Piece& piece) const;
  AcceleratorEndpoint(std::string name, drivers::accelerator::Accelerator& accelerator,
                      std::unique_ptr<drivers::accelerator::Channel> channel, std::uint32_t capacity);

  std::string name_;
  drivers::accelerator::Accelerator& accelerator_;
  MemoryRange shown_;  // in the accelerator's memory
  std::unique_ptr<drivers::accelerator::Channel> channel_;
  std::vector<Open> pieces_;
  std::vector<drivers::accelerator::CommandResult> results_;  // scratch for poll
};

}  // namespace barter::machine
