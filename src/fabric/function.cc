#include "fabric/function.h"

#include <array>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "fabric/mmio.h"
#include "fabric/system.h"
#include "pci/capabilities/ats.h"
#include "pci/capabilities/express.h"
#include "pci/capabilities/msix.h"
#include "pci/config_header.h"

namespace barter::fabric {
namespace {

Error refusal(const Node& node, ErrorCode code, std::string doing, std::string why, std::string cure = {}) {
  return {.code = code,
          .doing = std::move(doing),
          .subject = fmt::format("{} ({})", node.bdf->to_string(), node.name),
          .why = std::move(why),
          .cure = std::move(cure)};
}

bool is_config_access(std::uint16_t offset, unsigned width_bytes) {
  return (width_bytes == 1 || width_bytes == 2 || width_bytes == 4) && offset % width_bytes == 0 &&
         offset < pci::ConfigSpace::kExtendedBytes;
}

Error bad_config_access(const Node& node, std::uint16_t offset, unsigned width_bytes) {
  return refusal(node, ErrorCode::invalid_argument, "accessing config space of",
                 fmt::format("{} bytes at offset {:#x} are no configuration access", width_bytes, offset),
                 "use 1, 2 or 4 bytes, aligned, below 4096");
}

}  // namespace

SoftwareFunction::~SoftwareFunction() { release_vectors(); }

base::Clock& SoftwareFunction::clock() { return system_.runner->clock(); }

Result<std::uint32_t> SoftwareFunction::read_config(std::uint16_t offset, unsigned width_bytes) {
  if (!is_config_access(offset, width_bytes)) return fail(bad_config_access(node_, offset, width_bytes));
  return system_.read_config(bdf(), offset, width_bytes);
}

Result<void> SoftwareFunction::write_config(std::uint16_t offset, unsigned width_bytes, std::uint32_t value) {
  if (!is_config_access(offset, width_bytes)) return fail(bad_config_access(node_, offset, width_bytes));
  system_.write_config(bdf(), offset, width_bytes, value);
  return {};
}

Result<std::unique_ptr<pci::Mmio>> SoftwareFunction::map_bar(unsigned index) {
  const std::lock_guard lock(system_.mutex);
  for (const BarRequest& bar : node_.bars) {
    if (bar.index != index) continue;
    const auto window = node_.bar_window(bar);
    if (!window)
      return fail(refusal(node_, ErrorCode::unsupported, fmt::format("mapping BAR {} of", index), "it has no address"));
    return std::make_unique<MappedBar>(system_, node_, window->first, bar.size_bytes);
  }
  return fail(
      refusal(node_, ErrorCode::not_found, fmt::format("mapping BAR {} of", index), "the function has no such BAR"));
}

Result<pci::DmaBuffer> SoftwareFunction::allocate_dma(std::uint64_t bytes, pci::DmaUse use) {
  auto lent = system_.lend_host_memory(bytes, use);
  if (!lent) return lent;
  Domain& domain = *node_.domain;
  const std::span<std::byte> memory = lent->bytes();
  const auto address = domain.map({lent->address().value}, memory.size(), Access::read_write);
  if (!address) return fail(address.error());
  // Taken out of the IOMMU before the memory is given back: from then on no device reaches it.
  return pci::DmaBuffer(memory, *address,
                        [&domain, address = *address, bytes = memory.size(), held = std::move(*lent)]() mutable {
                          domain.unmap(address, bytes);
                          held = {};
                        });
}

Result<pci::DmaBuffer> SoftwareFunction::share_dma(const pci::DmaBuffer& other) {
  const std::span<std::byte> memory = other.bytes();
  const auto target = system_.host_memory->bus_address_of(memory);
  if (!target)
    return fail(refusal(node_, ErrorCode::invalid_argument, "sharing a DMA buffer with",
                        "the buffer is not host memory of this machine"));
  Domain& domain = *node_.domain;
  const auto address = domain.map({*target}, memory.size(), Access::read_write);
  if (!address) return fail(address.error());
  return pci::DmaBuffer(memory, *address,
                        [&domain, address = *address, bytes = memory.size()] { domain.unmap(address, bytes); });
}

Result<void> SoftwareFunction::enable_interrupts(unsigned count) {
  if (count == 0 || count > node_.msix.size())
    return fail(refusal(node_, ErrorCode::invalid_argument, fmt::format("enabling {} interrupts of", count),
                        fmt::format("it has {} MSI-X vectors", node_.msix.size())));
  release_vectors();
  {
    const std::lock_guard lock(system_.mutex);
    for (unsigned number = 0; number < count; ++number) {
      const auto vector = system_.host_vectors.allocate();
      if (!vector) return fail(vector.error());
      vectors_.push_back(*vector);
      node_.msix[number] = {.address = kInterruptRangeStart, .data = *vector, .masked = false};
    }
  }
  const auto enabled = pci::msix::MessageControl{}.with(pci::msix::MessageControl::enable, true);
  return write_config(static_cast<std::uint16_t>(node_.capabilities.msix + pci::msix::MessageControl::kOffset), 2,
                      enabled.raw);
}

void SoftwareFunction::release_vectors() {
  const std::lock_guard lock(system_.mutex);
  for (std::size_t number = 0; number < vectors_.size(); ++number) {
    // The function may have been reset or used by another handle since; only our own entries are taken back.
    if (number < node_.msix.size() && node_.msix[number].data == vectors_[number]) node_.msix[number] = {};
    system_.host_vectors.release(vectors_[number]);
  }
  vectors_.clear();
}

bool SoftwareFunction::take_interrupt(unsigned vector) {
  return vector < vectors_.size() && system_.host_vectors.take(vectors_[vector]);
}

Result<void> SoftwareFunction::reset() {
  std::array<std::uint32_t, pci::BaseAddress::kEndpointCount> saved{};
  const auto bar_at = [](std::size_t index) {
    return static_cast<std::uint16_t>(pci::BaseAddress::kOffset + index * pci::BaseAddress::kStrideBytes);
  };
  const std::uint16_t express_at = node_.capabilities.express;
  if (express_at == 0 || node_.role != Role::endpoint)
    return fail(refusal(node_, ErrorCode::unsupported, "resetting", "it has no function-level reset"));
  const std::uint32_t command = system_.read_config(bdf(), pci::Command::kOffset, 2);
  if (system_.read_config(bdf(), pci::VendorId::kOffset, 2) == pci::VendorId::kNone)
    return fail(refusal(node_, ErrorCode::device_gone, "resetting", "the function does not answer"));
  for (std::size_t index = 0; index < pci::BaseAddress::kEndpointCount; ++index)
    saved[index] = system_.read_config(bdf(), bar_at(index), 4);
  const auto control_at = static_cast<std::uint16_t>(express_at + pci::express::DeviceControl::kOffset);
  const std::uint32_t control = system_.read_config(bdf(), control_at, 2);
  const auto ats_at = static_cast<std::uint16_t>(node_.capabilities.ats + pci::ats::Control::kOffset);
  const std::uint32_t ats = node_.capabilities.ats == 0 ? 0 : system_.read_config(bdf(), ats_at, 2);
  const auto initiate = pci::express::DeviceControl::from(static_cast<std::uint16_t>(control))
                            .with(pci::express::DeviceControl::initiate_function_level_reset, true);
  system_.write_config(bdf(), control_at, 2, initiate.raw);
  for (std::size_t index = 0; index < pci::BaseAddress::kEndpointCount; ++index)
    system_.write_config(bdf(), bar_at(index), 4, saved[index]);
  system_.write_config(bdf(), control_at, 2, control);
  if (node_.capabilities.ats != 0) system_.write_config(bdf(), ats_at, 2, ats);
  system_.write_config(bdf(), pci::Command::kOffset, 2, command);
  return {};
}

}  // namespace barter::fabric
