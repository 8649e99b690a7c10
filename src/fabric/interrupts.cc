#include "fabric/interrupts.h"

#include <algorithm>

#include "fabric/system.h"
#include "pci/capabilities/msix.h"
#include "pci/config_header.h"

namespace barter::fabric {
namespace {

namespace msix = pci::msix;

constexpr std::uint64_t kEntryBytes = msix::entry::kBytes;

std::uint32_t read_entry(const MsixVector& vector, std::uint64_t at) {
  switch (at) {
    case msix::entry::MessageAddress::kOffset:
      return static_cast<std::uint32_t>(vector.address);
    case msix::entry::MessageUpperAddress::kOffset:
      return static_cast<std::uint32_t>(vector.address >> 32);
    case msix::entry::MessageData::kOffset:
      return vector.data;
    default:
      return msix::entry::VectorControl{}.with(msix::entry::VectorControl::mask, vector.masked).raw;
  }
}

void write_entry(MsixVector& vector, std::uint64_t at, std::uint32_t value) {
  constexpr std::uint64_t kLowHalf = 0xffffffff;
  switch (at) {
    case msix::entry::MessageAddress::kOffset:
      // The bottom two bits are zero (PCI 3.0, 6.8.2.7).
      vector.address = (vector.address & ~kLowHalf) | (value & ~std::uint32_t{3});
      return;
    case msix::entry::MessageUpperAddress::kOffset:
      vector.address = (vector.address & kLowHalf) | std::uint64_t{value} << 32;
      return;
    case msix::entry::MessageData::kOffset:
      vector.data = value;
      return;
    default:
      vector.masked = msix::entry::VectorControl::from(value).get(msix::entry::VectorControl::mask);
      return;
  }
}

void send(Node& node, const MsixVector& vector) {
  // A message that does not arrive is counted by the routing; nobody hears of it, as on a real bus.
  if (node.requester) static_cast<void>(node.requester->send_message(vector.address, vector.data));
}

}  // namespace

Result<std::uint32_t> HostVectors::allocate() {
  if (!free_.empty()) {
    const std::uint32_t vector = free_.back();
    free_.pop_back();
    (*flags_)[vector].store(0, std::memory_order_relaxed);
    return vector;
  }
  if (next_ < kCount) return next_++;
  return fail({.code = ErrorCode::exhausted,
               .doing = "allocating an interrupt vector",
               .why = "all 65536 are in use",
               .cure = "enable fewer vectors for each function"});
}

void HostVectors::release(std::uint32_t vector) { free_.push_back(vector); }

void raise_interrupt(Node& node, unsigned vector) {
  if (vector >= node.msix.size()) return;
  const auto control = node.registers.get<msix::MessageControl>(node.capabilities.msix);
  if (!control.get(msix::MessageControl::enable)) return;
  MsixVector& entry = node.msix[vector];
  if (control.get(msix::MessageControl::function_mask) || entry.masked) {
    entry.pending = true;
    return;
  }
  send(node, entry);
}

void send_pending(Node& node) {
  if (node.msix.empty()) return;
  const auto control = node.registers.get<msix::MessageControl>(node.capabilities.msix);
  if (!control.get(msix::MessageControl::enable) || control.get(msix::MessageControl::function_mask)) return;
  for (MsixVector& vector : node.msix) {
    if (!vector.pending || vector.masked) continue;
    vector.pending = false;
    send(node, vector);
  }
}

MsixPlaces msix_places(const Node& node, std::uint8_t bar) {
  MsixPlaces places;
  if (node.msix.empty()) return places;
  const auto table = node.registers.get<msix::Table>(node.capabilities.msix);
  const auto pending = node.registers.get<msix::PendingBitArray>(node.capabilities.msix);
  const auto span = [](std::uint64_t start, std::uint64_t bytes) { return Span{start, start + bytes}; };
  if (table.get(msix::Table::bar) == bar) places.table = span(table.offset_bytes(), node.msix.size() * kEntryBytes);
  if (pending.get(msix::PendingBitArray::bar) == bar)
    places.pending = span(pending.offset_bytes(), (node.msix.size() + 63) / 64 * 8);
  return places;
}

std::uint64_t read_msix(const Node& node, std::uint64_t offset, unsigned width_bytes) {
  if ((width_bytes != 4 && width_bytes != 8) || offset % width_bytes != 0) return ~std::uint64_t{0};
  const MsixPlaces places =
      msix_places(node, node.registers.get<msix::Table>(node.capabilities.msix).get(msix::Table::bar));
  std::uint64_t value = 0;
  for (unsigned part = 0; part < width_bytes; part += 4) {
    std::uint32_t word = 0;
    if (places.table.contains(offset + part)) {
      const std::uint64_t at = offset + part - places.table.start;
      word = read_entry(node.msix[at / kEntryBytes], at % kEntryBytes);
    } else if (places.pending.contains(offset + part)) {
      const std::uint64_t first = (offset + part - places.pending.start) * 8;
      for (std::uint64_t bit = 0; bit < 32 && first + bit < node.msix.size(); ++bit)
        word |= std::uint32_t{node.msix[first + bit].pending} << bit;
    }
    value |= std::uint64_t{word} << (8 * part);
  }
  return value;
}

void write_msix(Node& node, std::uint64_t offset, unsigned width_bytes, std::uint64_t value) {
  if ((width_bytes != 4 && width_bytes != 8) || offset % width_bytes != 0) return;
  const MsixPlaces places =
      msix_places(node, node.registers.get<msix::Table>(node.capabilities.msix).get(msix::Table::bar));
  for (unsigned part = 0; part < width_bytes; part += 4) {
    if (!places.table.contains(offset + part)) continue;
    const std::uint64_t at = offset + part - places.table.start;
    write_entry(node.msix[at / kEntryBytes], at % kEntryBytes, static_cast<std::uint32_t>(value >> (8 * part)));
  }
  send_pending(node);
}

}  // namespace barter::fabric
