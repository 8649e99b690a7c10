#include "devices/nvme/controller.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "devices/nvme/controller_model.h"

namespace barter::devices::nvme {
namespace {

constexpr std::uint64_t kPage = 4096;  // CAP.MPSMIN
constexpr std::uint16_t kMaxIoQueues = 1024;
constexpr std::size_t kMaxNamespaces = 1024;  // one page of the active namespace list
constexpr std::uint64_t kMaxTransferBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kMaxBufferBytes = std::uint64_t{1} << 46;
constexpr std::uint8_t kReadyTimeout = 20;  // in units of 500 ms
constexpr std::uint32_t kNvmeClass =
    0x010802;  // PCI Code and ID Assignment 1.14: mass storage, NVM, NVMe I/O controller

std::unexpected<Error> refuse(const ControllerSetup& setup, std::string why, std::string cure) {
  return fail({.code = ErrorCode::invalid_argument,
               .doing = "making an NVMe controller",
               .subject = setup.serial,
               .why = std::move(why),
               .cure = std::move(cure)});
}

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

// CMBSZ.SZU: the smallest unit in which both the size and the offset fit their 20 bits.
std::uint8_t buffer_unit_log16(const ControllerSetup& setup) {
  std::uint8_t unit = 0;
  while (std::max(setup.cmb_bytes, setup.cmb_offset_bytes) >> (12 + 4 * unit) > 0xfffff) ++unit;
  return unit;
}

Result<void> check_queues(const ControllerSetup& setup) {
  if (setup.max_queues == 0 || setup.max_queues > kMaxIoQueues) {
    return refuse(setup, fmt::format("it would have {} I/O queues", setup.max_queues),
                  fmt::format("choose 1 to {}", kMaxIoQueues));
  }
  if (setup.max_queue_entries < 2) return refuse(setup, "a queue has at least two entries", "choose 2 to 65535");
  if (setup.doorbell_stride_log2 > 15) return refuse(setup, "CAP.DSTRD has four bits", "choose a stride of 0 to 15");
  const bool fits = std::has_single_bit(setup.max_transfer_bytes) && setup.max_transfer_bytes >= kPage &&
                    setup.max_transfer_bytes <= kMaxTransferBytes;
  if (!fits) {
    return refuse(setup, fmt::format("{} bytes can't be its largest transfer", setup.max_transfer_bytes),
                  "choose a power of two from 4 KiB to 64 MiB");
  }
  return {};
}

Result<void> check_buffer(const ControllerSetup& setup) {
  if (setup.cmb_bytes == 0) return {};
  if (setup.cmb_bar != 2 && setup.cmb_bar != 4) {
    return refuse(setup, fmt::format("its memory buffer can't be in BAR {}", setup.cmb_bar), "choose BAR 2 or 4");
  }
  if (setup.cmb_bytes > kMaxBufferBytes || setup.cmb_offset_bytes > kMaxBufferBytes) {
    return refuse(setup, "its memory buffer is larger than CMBSZ can say", "choose at most 64 TiB");
  }
  const std::uint64_t unit = kPage << 4 * buffer_unit_log16(setup);
  if (setup.cmb_bytes % unit != 0 || setup.cmb_offset_bytes % unit != 0) {
    return refuse(setup, fmt::format("its memory buffer's size and offset must be multiples of {} bytes", unit),
                  "round them");
  }
  return {};
}

Result<std::vector<Namespace>> make_namespaces(ControllerSetup& setup) {
  if (setup.namespaces.size() > kMaxNamespaces) return refuse(setup, "it has too many namespaces", "have at most 1024");
  std::vector<Namespace> namespaces;
  for (NamespaceSetup& each : setup.namespaces) {
    const auto id = static_cast<std::uint32_t>(namespaces.size() + 1);
    if (each.block_bytes != 512 && each.block_bytes != 4096) {
      return refuse(setup, fmt::format("namespace {} has blocks of {} bytes", id, each.block_bytes),
                    "choose 512 or 4096");
    }
    if (each.backing == nullptr || each.backing->size_bytes() == 0 ||
        each.backing->size_bytes() % each.block_bytes != 0) {
      return refuse(setup, fmt::format("namespace {} is not a whole number of blocks", id),
                    fmt::format("make its size a multiple of {} bytes", each.block_bytes));
    }
    namespaces.push_back({.backing = std::move(each.backing),
                          .id = id,
                          .block_log2 = static_cast<std::uint32_t>(std::countr_zero(each.block_bytes))});
    Namespace& made = namespaces.back();
    made.blocks = made.backing->size_bytes() >> made.block_log2;
    made.is_read_only = made.backing->is_read_only();
  }
  return namespaces;
}

// BAR 0: registers, doorbells, MSI-X table, pending bits. The memory buffer's BAR: nothing but the buffer.
fabric::FunctionIdentity make_identity(const ControllerSetup& setup) {
  const unsigned vectors = setup.max_queues + 1u;
  const std::uint64_t doorbells = std::uint64_t{vectors} * 2 * doorbell_stride(setup.doorbell_stride_log2);
  const std::uint64_t table = round_up(kDoorbells + doorbells, kPage);
  const std::uint64_t pending = round_up(table + std::uint64_t{vectors} * 16, kPage);
  const std::uint64_t end = pending + round_up(vectors, 64) / 8;
  fabric::FunctionIdentity identity{.vendor_id = setup.vendor_id,
                                    .device_id = setup.device_id,
                                    .subsystem_vendor_id = setup.vendor_id,
                                    .subsystem_id = setup.device_id,
                                    .class_code = kNvmeClass,
                                    .revision = 2,
                                    .bars = {{.index = 0, .size_bytes = std::bit_ceil(end)}},
                                    .msix_vectors = vectors,
                                    .msix_bar = 0,
                                    .msix_table = {table},
                                    .msix_pending = {pending}};
  if (setup.cmb_bytes != 0) {
    identity.bars.push_back({.index = setup.cmb_bar,
                             .size_bytes = std::bit_ceil(setup.cmb_offset_bytes + setup.cmb_bytes),
                             .is_64bit = true,
                             .is_prefetchable = true});
  }
  return identity;
}

FixedRegisters make_registers(const ControllerSetup& setup) {
  FixedRegisters fixed{.buffer_bytes = setup.cmb_bytes,
                       .ignores_doorbells = setup.misbehaviour.ignores_doorbells,
                       .is_never_ready = setup.misbehaviour.never_ready};
  fixed.capabilities =
      Capabilities{}
          .with(Capabilities::ready_modes, 1)
          .with(Capabilities::controller_memory_buffer, setup.cmb_bytes != 0)
          .with(Capabilities::page_size_max_log2_4k, kMaxPageLog2)
          .with(Capabilities::command_sets, 1)
          .with(Capabilities::doorbell_stride_log2, setup.doorbell_stride_log2)
          .with(Capabilities::timeout_500ms, kReadyTimeout)
          .with(Capabilities::contiguous_queues, true)
          .with(Capabilities::queue_entries_0based, static_cast<std::uint16_t>(setup.max_queue_entries - 1));
  const std::uint8_t unit = buffer_unit_log16(setup);
  fixed.buffer_size = BufferSize{}
                          .with(BufferSize::size_units, static_cast<std::uint32_t>(setup.cmb_bytes >> (12 + 4 * unit)))
                          .with(BufferSize::unit_log16, unit)
                          .with(BufferSize::write_data, setup.cmb.write_data)
                          .with(BufferSize::read_data, setup.cmb.read_data)
                          .with(BufferSize::lists, setup.cmb.lists)
                          .with(BufferSize::completion_queues, setup.cmb.completion_queues)
                          .with(BufferSize::submission_queues, setup.cmb.submission_queues);
  fixed.buffer_location =
      BufferLocation{}
          .with(BufferLocation::offset_units, static_cast<std::uint32_t>(setup.cmb_offset_bytes >> (12 + 4 * unit)))
          .with(BufferLocation::data_mixed, setup.cmb.data_mixed)
          .with(BufferLocation::list_apart_from_command, setup.cmb.list_apart_from_command)
          .with(BufferLocation::lists_mixed, setup.cmb.lists_mixed)
          .with(BufferLocation::queue_mixed, setup.cmb.queue_mixed)
          .with(BufferLocation::bar, setup.cmb_bar);
  if (setup.misbehaviour.absurd_capabilities) {
    fixed.capabilities = Capabilities{}
                             .with(Capabilities::controller_memory_buffer, true)
                             .with(Capabilities::page_size_min_log2_4k, 15)
                             .with(Capabilities::doorbell_stride_log2, 15);
    fixed.buffer_size.raw = fixed.buffer_location.raw = ~0u;
  }
  return fixed;
}

}  // namespace

Result<std::unique_ptr<fabric::Device>> create_controller(ControllerSetup setup) {
  if (auto checked = check_queues(setup); !checked) return fail(std::move(checked.error()));
  if (auto checked = check_buffer(setup); !checked) return fail(std::move(checked.error()));
  auto namespaces = make_namespaces(setup);
  if (!namespaces) return fail(std::move(namespaces.error()));
  auto buffer = AnonymousMemory::create(setup.cmb_bytes);
  if (!buffer) return fail(std::move(buffer.error()));
  ControllerParts parts{.identity = make_identity(setup),
                        .registers = make_registers(setup),
                        .buffer = setup.cmb,
                        .buffer_bar = setup.cmb_bar,
                        .buffer_offset = setup.cmb_offset_bytes,
                        .buffer_memory = std::move(*buffer),
                        .namespaces = std::move(*namespaces),
                        .io_queues = setup.max_queues,
                        .max_queue_entries = setup.max_queue_entries,
                        .limits = {.max_transfer_bytes = setup.max_transfer_bytes, .takes_sgl = setup.sgl},
                        .facts = {.vendor_id = setup.vendor_id,
                                  .serial = setup.serial,
                                  .max_transfer_log2_pages =
                                      static_cast<std::uint8_t>(std::countr_zero(setup.max_transfer_bytes / kPage)),
                                  .event_limit_0based = Events::kMaxRequests - 1,
                                  .error_entries_0based = kErrorEntries - 1,
                                  .arbitration_burst_log2 = kArbitrationBurstLog2,
                                  .takes_sgl = setup.sgl},
                        .misbehaviour = setup.misbehaviour};
  return std::make_unique<Controller>(std::move(parts));
}

std::optional<Error> last_backing_error(const fabric::Device& device) {
  const auto* controller = dynamic_cast<const Controller*>(&device);
  return controller == nullptr ? std::nullopt : controller->namespaces().last_error();
}

std::string medium_of(fabric::Device& device, std::uint32_t namespace_id) {
  auto* controller = dynamic_cast<Controller*>(&device);
  const Namespace* space = controller == nullptr ? nullptr : controller->namespaces().find(namespace_id);
  return space == nullptr ? std::string() : space->backing->identity();
}

Result<void> reserve(fabric::Device& device, std::uint32_t namespace_id, std::uint64_t offset, std::uint64_t bytes) {
  auto* controller = dynamic_cast<Controller*>(&device);
  Namespace* space = controller == nullptr ? nullptr : controller->namespaces().find(namespace_id);
  if (space == nullptr) {
    return fail({.code = ErrorCode::not_found,
                 .doing = "reserving space on a drive",
                 .subject = fmt::format("namespace {}", namespace_id),
                 .why = "there is no such namespace"});
  }
  const std::uint64_t size = space->backing->size_bytes();
  if (offset > size || bytes > size - offset) {
    return fail({.code = ErrorCode::out_of_range,
                 .doing = "reserving space on a drive",
                 .subject = fmt::format("namespace {}", namespace_id),
                 .why = fmt::format("bytes {} to {} are past its end at {}", offset, offset + bytes, size)});
  }
  return space->backing->reserve(offset, bytes);
}

}  // namespace barter::devices::nvme
