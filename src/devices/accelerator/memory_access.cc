#include "devices/accelerator/memory_access.h"

#include <algorithm>
#include <cstring>

#include "base/register.h"

namespace barter::devices::accelerator {
namespace {

using fabric::Completion;

// Section 4.
struct Entry : base::Register<Entry, 0, std::uint64_t> {
  static constexpr Bit<7> leaf{};
  static constexpr Bit<2> on_bus{};
  static constexpr Bit<1> writable{};
  static constexpr Bit<0> valid{};
  static constexpr std::uint64_t kAddress = 0x000f'ffff'ffff'f000;
  static constexpr std::uint64_t kReserved = 0xfff0'0000'0000'0f78;
};
constexpr unsigned kVirtualBits = 48;
constexpr unsigned kLevels = 4;
constexpr std::uint64_t kIndexMask = 511;

CommandStatus status_of(Completion completion) {
  return completion == Completion::successful ? CommandStatus::done : CommandStatus::bus_error;
}

}  // namespace

MemoryAccess::MemoryAccess(std::span<std::byte> memory, LinkPorts& links)
    : memory_(memory), links_(links), bounce_(std::make_unique<std::byte[]>(kBounceBytes)) {}

void MemoryAccess::set_root(TableRoot root) {
  if (root == root_) return;
  root_ = root;
  forget_translations();
}

CommandStatus MemoryAccess::fault(std::uint64_t address, Access access) {
  fault_ = {address, access != Access::read};
  return CommandStatus::page_fault;
}

CommandStatus MemoryAccess::read_entry(bool is_on_bus, std::uint64_t at, std::uint64_t& entry) {
  const auto into = std::as_writable_bytes(std::span(&entry, 1));
  if (is_on_bus) return status_of(requester_->read({at}, into));
  const auto found = local_piece(at, sizeof entry);
  if (!found) return found.error();
  if (found->local.size() < sizeof entry) return CommandStatus::out_of_memory;
  std::memcpy(into.data(), found->local.data(), sizeof entry);
  return CommandStatus::done;
}

CommandStatus MemoryAccess::look_up(Operand& operand, std::uint64_t address, Access access) {
  if (operand.epoch == epoch_ && address - operand.virtual_start < operand.bytes &&
      (access == Access::read || operand.is_writable))
    return CommandStatus::done;
  if (!root_.get(TableRoot::valid) || address >> kVirtualBits != 0) return fault(address, access);
  bool table_is_on_bus = root_.get(TableRoot::on_bus);
  std::uint64_t table = root_.get(TableRoot::address_4k) << 12;
  for (unsigned level = 1; level <= kLevels; ++level) {
    const unsigned shift = kVirtualBits - 9 * level;
    std::uint64_t raw = 0;
    if (const auto read = read_entry(table_is_on_bus, table + (address >> shift & kIndexMask) * sizeof raw, raw);
        read != CommandStatus::done)
      return read;
    const Entry entry = Entry::from(raw);
    const bool leaf = entry.get(Entry::leaf);
    const std::uint64_t page_bytes = std::uint64_t{1} << shift;
    const std::uint64_t target = raw & Entry::kAddress;
    const bool is_possible = entry.get(Entry::valid) && (raw & Entry::kReserved) == 0 && leaf <= (level > 1) &&
                             leaf >= (level == kLevels) && (!leaf || target % page_bytes == 0);
    if (!is_possible) return fault(address, access);
    if (leaf) {
      if (access != Access::read && !entry.get(Entry::writable)) return fault(address, access);
      operand.epoch = epoch_;
      operand.virtual_start = address & ~(page_bytes - 1);
      operand.bytes = page_bytes;
      operand.target = target;
      operand.is_on_bus = entry.get(Entry::on_bus);
      operand.is_writable = entry.get(Entry::writable);
      return CommandStatus::done;
    }
    table_is_on_bus = entry.get(Entry::on_bus);
    table = target;
  }
  return fault(address, access);
}

MemoryAccess::PieceResult MemoryAccess::local_piece(std::uint64_t at, std::uint64_t bytes) const {
  if (const std::uint64_t link = at >> kLinkAddressShift; link != 0) {
    if (link > links_.count()) return std::unexpected(CommandStatus::out_of_memory);
    const LinkPlace place{static_cast<std::uint32_t>(link - 1), at & ((std::uint64_t{1} << kLinkAddressShift) - 1)};
    return Piece{.local = {},
                 .link = place,
                 .bus = {},
                 .bytes = std::min(bytes, (std::uint64_t{1} << kLinkAddressShift) - place.offset)};
  }
  if (at >= memory_.size()) return std::unexpected(CommandStatus::out_of_memory);
  const std::uint64_t most = std::min<std::uint64_t>(bytes, memory_.size() - at);
  return Piece{.local = memory_.subspan(at, most), .link = {}, .bus = {}, .bytes = most};
}

MemoryAccess::PieceResult MemoryAccess::piece(Operand& operand, std::uint64_t offset, std::uint64_t bytes,
                                              Access access) {
  if (offset > ~operand.start) return std::unexpected(CommandStatus::out_of_memory);
  const std::uint64_t address = operand.start + offset;
  switch (operand.space) {
    case Space::local:
      // From one peer's memory nothing goes on into the next.
      if (address >> kLinkAddressShift != operand.start >> kLinkAddressShift)
        return std::unexpected(CommandStatus::out_of_memory);
      return local_piece(address, bytes);
    case Space::bus:
      if (bytes - 1 > ~address) return std::unexpected(CommandStatus::bus_error);
      return Piece{.local = {}, .link = {}, .bus = {address}, .bytes = bytes};
    case Space::virtual_: {
      if (const auto found = look_up(operand, address, access); found != CommandStatus::done)
        return std::unexpected(found);
      const std::uint64_t within = address - operand.virtual_start;
      const std::uint64_t most = std::min(bytes, operand.bytes - within);
      if (operand.is_on_bus) return Piece{.local = {}, .link = {}, .bus = {operand.target + within}, .bytes = most};
      return local_piece(operand.target + within, most);
    }
    case Space::none:
      break;
  }
  return std::unexpected(CommandStatus::invalid_field);
}

CommandStatus MemoryAccess::fetch(const Piece& from, std::span<std::byte> into) {
  if (from.link) return links_.fetch(from.link->port, from.link->offset, into);
  if (from.local.empty()) return status_of(requester_->read(from.bus, into));
  std::memcpy(into.data(), from.local.data(), into.size());
  return CommandStatus::done;
}

CommandStatus MemoryAccess::store(const Piece& to, std::span<const std::byte> from) {
  if (to.link) return links_.store(to.link->port, to.link->offset, from);
  if (to.local.empty()) return status_of(requester_->write(to.bus, from));
  std::memcpy(to.local.data(), from.data(), from.size());
  return CommandStatus::done;
}

CommandStatus MemoryAccess::read(Operand& from, std::uint64_t offset, std::span<std::byte> into) {
  while (!into.empty()) {
    const auto found = piece(from, offset, into.size(), Access::read);
    if (!found) return found.error();
    const auto part = into.first(found->bytes);
    if (const auto moved = fetch(*found, part); moved != CommandStatus::done) return moved;
    into = into.subspan(part.size());
    offset += part.size();
  }
  return CommandStatus::done;
}

CommandStatus MemoryAccess::write(Operand& to, std::uint64_t offset, std::span<const std::byte> from) {
  while (!from.empty()) {
    const auto found = piece(to, offset, from.size(), Access::write);
    if (!found) return found.error();
    const auto part = from.first(found->bytes);
    if (const auto moved = store(*found, part); moved != CommandStatus::done) return moved;
    from = from.subspan(part.size());
    offset += part.size();
  }
  return CommandStatus::done;
}

MemoryAccess::BytesResult MemoryAccess::bytes(Operand& from, std::uint64_t offset, std::span<std::byte> scratch) {
  const auto found = piece(from, offset, scratch.size(), Access::read);
  if (!found) return std::unexpected(found.error());
  if (found->local.size() == scratch.size()) return found->local.data();
  if (const auto copied = read(from, offset, scratch); copied != CommandStatus::done) return std::unexpected(copied);
  return scratch.data();
}

// One request for each piece that is not local: the data goes straight between the memory and the bus or the link.
MemoryAccess::CopyResult MemoryAccess::copy(Operand& from, Operand& to, std::uint64_t offset, std::uint64_t bytes) {
  const auto source = piece(from, offset, bytes, Access::read);
  if (!source) return std::unexpected(source.error());
  const auto target = piece(to, offset, source->bytes, Access::write);
  if (!target) return std::unexpected(target.error());
  std::uint64_t most = target->bytes;
  CommandStatus moved = CommandStatus::done;
  if (!source->local.empty() && !target->local.empty()) {
    // They must not overlap; what comes of it when they do all the same is undefined, but here it is bytes.
    std::memmove(target->local.data(), source->local.data(), most);
  } else if (!source->local.empty()) {
    moved = store(*target, source->local.first(most));
  } else if (!target->local.empty()) {
    moved = fetch(*source, target->local.first(most));
  } else {
    most = std::min<std::uint64_t>(most, kBounceBytes);
    const std::span<std::byte> bounce(bounce_.get(), most);
    moved = fetch(*source, bounce);
    if (moved == CommandStatus::done) moved = store(*target, bounce);
  }
  if (moved != CommandStatus::done) return std::unexpected(moved);
  return most;
}

}  // namespace barter::devices::accelerator
