#include "machine/nvme_endpoint.h"

#include <algorithm>
#include <utility>

#include "drivers/nvme/cmb_exporter.h"
#include "drivers/nvme/drive_importer.h"

namespace barter::machine {
namespace nvme = drivers::nvme;

namespace {

// A command moves at most 65536 blocks (NVMe 2.0, NLB is 16 bits), and what the controller takes at once.
std::uint64_t max_piece(const nvme::ControllerFacts& facts, const nvme::NamespaceFacts& space) {
  const std::uint64_t limit = std::min(facts.max_transfer_bytes, std::uint64_t{65536} * space.block_bytes);
  return std::max<std::uint64_t>(limit / space.block_bytes, 1) * space.block_bytes;
}

class NvmeDriver final : public EndpointFactory {
 public:
  NvmeDriver(std::string name, std::unique_ptr<nvme::Controller> controller, ReserveRule reserve)
      : name_(std::move(name)), controller_(std::move(controller)), reserve_(std::move(reserve)) {}

  [[nodiscard]] Result<std::unique_ptr<Endpoint>> open_endpoint(std::uint32_t capacity) override {
    return NvmeEndpoint::create(name_, *controller_, reserve_, capacity);
  }
  [[nodiscard]] bool keeps_endpoints() const override { return true; }

 private:
  std::string name_;
  std::unique_ptr<nvme::Controller> controller_;
  ReserveRule reserve_;
};

}  // namespace

Result<void> bring_up(DriveUnit& unit, NvmeDrive drive) {
  auto created = nvme::Controller::create(std::move(drive.function), drive.options);
  if (!created) return std::unexpected(std::move(created.error()));
  nvme::Controller& controller = **created;
  if (controller.namespaces().empty())
    return fail({.code = ErrorCode::unsupported,
                 .doing = "opening the drive",
                 .subject = unit.name,
                 .why = "it has no namespace"});
  unit.size_bytes = controller.namespaces().front().size_bytes();
  unit.block_bytes = controller.namespaces().front().block_bytes;
  unit.controller_memory = controller.controller_memory();
  unit.driver = std::make_shared<NvmeDriver>(unit.name, std::move(*created), std::move(drive.reserve));
  unit.importer = std::make_shared<nvme::DriveImporter>(controller, drive.domain);
  if (unit.controller_memory) unit.exporter = std::make_shared<nvme::CmbExporter>(controller);
  return {};
}

NvmeEndpoint::NvmeEndpoint(std::string name, nvme::Controller& controller, ReserveRule reserve,
                           std::unique_ptr<nvme::QueuePair> queue)
    : name_(std::move(name)),
      controller_(controller),
      reserve_(std::move(reserve)),
      space_(controller.namespaces().front()),
      max_piece_bytes_(max_piece(controller.facts(), space_)),
      queue_(std::move(queue)),
      results_(64) {}

Result<std::unique_ptr<NvmeEndpoint>> NvmeEndpoint::create(std::string name, nvme::Controller& controller,
                                                           ReserveRule reserve, std::uint32_t capacity) {
  const nvme::ControllerFacts& facts = controller.facts();
  const std::uint32_t entries = std::clamp<std::uint32_t>(capacity + 1, 2, facts.max_queue_entries);
  auto queue = controller.create_queue_pair({.entries = static_cast<std::uint16_t>(entries)});
  if (!queue) return std::unexpected(std::move(queue.error()));
  return std::unique_ptr<NvmeEndpoint>(
      new NvmeEndpoint(std::move(name), controller, std::move(reserve), std::move(*queue)));
}

Result<void> NvmeEndpoint::reserve(std::uint64_t offset, std::uint64_t bytes) {
  return reserve_ ? reserve_(offset, bytes) : Result<void>{};
}

Result<void> NvmeEndpoint::submit(const Piece& piece) {
  if (controller_.function().is_wanted_back())
    return fail({.code = ErrorCode::device_gone,
                 .doing = "queueing a command for",
                 .subject = name_,
                 .why = "the kernel asks for it back, because it is about to be unplugged or given to another driver",
                 .cure = "start again when it is there"});
  return queue_->submit({
      .opcode = piece.direction == Direction::from_endpoint ? nvme::Opcode::read : nvme::Opcode::write,
      .namespace_id = space_.id,
      .block = piece.offset / space_.block_bytes,
      .blocks = static_cast<std::uint32_t>(piece.bytes / space_.block_bytes),
      .data = piece.memory,
      .tag = piece.tag,
  });
}

Result<std::size_t> NvmeEndpoint::poll(std::span<PieceResult> results) {
  const auto count = queue_->poll(std::span(results_).first(std::min(results_.size(), results.size())));
  if (!count) return count;
  std::ranges::transform(std::span(results_).first(*count), results.begin(), [](const nvme::CommandResult& result) {
    return PieceResult{.tag = result.tag, .status = result.status};
  });
  return count;
}

std::string NvmeEndpoint::describe(std::uint16_t status) const { return nvme::describe_status(status); }

Result<pci::DmaBuffer> NvmeEndpoint::allocate(std::uint64_t bytes) {
  return controller_.function().allocate_dma(bytes, pci::DmaUse::data);
}

Result<pci::DmaBuffer> NvmeEndpoint::share(const pci::DmaBuffer& other) {
  return controller_.function().share_dma(other);
}

}  // namespace barter::machine
