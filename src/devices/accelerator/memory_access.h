// Memory as the engines see it: local, on the bus, behind a link, or virtual through the page tables
// (docs/devices/accelerator.md, sections 3 to 5). An operand is walked piece by piece, and a piece lies in one of the first three.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>

#include "barter/memory.hpp"
#include "devices/accelerator/commands.h"
#include "devices/accelerator/links.h"
#include "devices/accelerator/registers.h"
#include "fabric/device.h"

namespace barter::devices::accelerator {

// Where a command found a page table entry that did not let it through.
struct PageFault {
  std::uint64_t address = 0;
  bool was_write = false;
};

class MemoryAccess {
 public:
  // The links outlive it.
  MemoryAccess(std::span<std::byte> memory, LinkPorts& links);
  void attach(fabric::Requester& requester) { requester_ = &requester; }
  // What was read of older tables is forgotten.
  void set_root(TableRoot root);
  void forget_translations() { ++epoch_; }

  // One operand of one command: where it begins, and the translation used last.
  struct Operand {
    Space space = Space::none;
    std::uint64_t start = 0;
    // A page that was looked up: virtual addresses [virtual_start, virtual_start + bytes).
    std::uint64_t epoch = 0;
    std::uint64_t virtual_start = 0;
    std::uint64_t bytes = 0;
    std::uint64_t target = 0;
    bool is_on_bus = false;
    bool is_writable = false;
  };

  // Contiguous memory of an operand: `local` or, where that is empty, `bytes` behind a link or on the bus.
  struct LinkPlace {
    std::uint32_t port = 0;
    std::uint64_t offset = 0;
  };
  struct Piece {
    std::span<std::byte> local;
    std::optional<LinkPlace> link;
    DmaAddress bus;
    std::uint64_t bytes = 0;
  };
  using PieceResult = std::expected<Piece, CommandStatus>;
  // The longest piece at `offset`, of at most `bytes`, which are not 0.
  [[nodiscard]] PieceResult piece(Operand& operand, std::uint64_t offset, std::uint64_t bytes, Access access);

  [[nodiscard]] CommandStatus read(Operand& from, std::uint64_t offset, std::span<std::byte> into);
  [[nodiscard]] CommandStatus write(Operand& to, std::uint64_t offset, std::span<const std::byte> from);
  // The bytes themselves where they are one piece of local memory, and otherwise a copy of them in `scratch`.
  using BytesResult = std::expected<const std::byte*, CommandStatus>;
  [[nodiscard]] BytesResult bytes(Operand& from, std::uint64_t offset, std::span<std::byte> scratch);
  // At most `bytes`; both operands move on by what it tells.
  using CopyResult = std::expected<std::uint64_t, CommandStatus>;
  [[nodiscard]] CopyResult copy(Operand& from, Operand& to, std::uint64_t offset, std::uint64_t bytes);

  [[nodiscard]] const PageFault& last_fault() const { return fault_; }
  [[nodiscard]] std::span<std::byte> memory() const { return memory_; }

 private:
  [[nodiscard]] CommandStatus look_up(Operand& operand, std::uint64_t address, Access access);
  [[nodiscard]] CommandStatus read_entry(bool is_on_bus, std::uint64_t at, std::uint64_t& entry);
  [[nodiscard]] CommandStatus fault(std::uint64_t address, Access access);
  [[nodiscard]] PieceResult local_piece(std::uint64_t at, std::uint64_t bytes) const;
  // All of a piece, which is as long as the other side.
  [[nodiscard]] CommandStatus fetch(const Piece& from, std::span<std::byte> into);
  [[nodiscard]] CommandStatus store(const Piece& to, std::span<const std::byte> from);

  static constexpr std::size_t kBounceBytes = 65536;
  std::span<std::byte> memory_;
  LinkPorts& links_;
  fabric::Requester* requester_ = nullptr;
  TableRoot root_;
  std::uint64_t epoch_ = 1;  // moves when translations are to be forgotten
  PageFault fault_;
  std::unique_ptr<std::byte[]> bounce_;  // where neither side is local
};

}  // namespace barter::devices::accelerator
