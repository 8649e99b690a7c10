// What an accelerator can be told to do, and how it answers.
#pragma once
#include <cstdint>
#include <string>

#include "barter/address.hpp"

namespace barter::drivers::accelerator {

// Section 3 of docs/devices/accelerator.md.
enum class Opcode : std::uint8_t {
  nop = 0,
  copy = 1,
  fill = 2,
  add = 16,
  sum = 17,
  histogram = 18,
  filter = 19,
  checksum = 20,
};
enum class Kind : std::uint8_t { copy, compute };  // of channel

// Where bytes of a command are. Made by the four functions, so that kinds of address don't get mixed up.
class Operand {
 public:
  enum class Space : std::uint8_t { local = 0, bus = 1, virtual_memory = 2, none = 3 };
  constexpr Operand() = default;
  // An offset in the accelerator's own memory.
  static constexpr Operand local(std::uint64_t offset) { return {Space::local, offset}; }
  // An address as the accelerator's requests must carry it.
  static constexpr Operand bus(DmaAddress address) { return {Space::bus, address.value}; }
  // An address of the accelerator's page tables (address_space.h).
  static constexpr Operand virtual_memory(std::uint64_t address) { return {Space::virtual_memory, address}; }
  // Memory of another accelerator behind a link (links.h). To the device it is a local address, whose highest bits tell.
  static constexpr Operand link(LinkAddress address) { return {Space::local, address.value}; }
  // A part of a mapping: what its kind of segment says.
  static constexpr Operand segment(const DmaSegment& segment) {
    return segment.kind == SegmentKind::link ? link({segment.address.value}) : bus(segment.address);
  }
  [[nodiscard]] constexpr Space space() const { return space_; }
  [[nodiscard]] constexpr std::uint64_t address() const { return address_; }

 private:
  constexpr Operand(Space space, std::uint64_t address) : space_(space), address_(address) {}
  Space space_ = Space::none;
  std::uint64_t address_ = 0;
};

struct Command {
  Opcode opcode = Opcode::nop;
  Operand source;
  Operand second;
  Operand destination;
  std::uint64_t count = 0;
  std::uint64_t parameter = 0;
  std::uint64_t tag = 0;   // comes back with the result
  bool interrupt = false;  // after it, send the channel's interrupt
};

struct CopyBytes {
  Operand from;
  Operand to;
  std::uint64_t bytes = 0;
};
[[nodiscard]] constexpr Command copy(CopyBytes what, std::uint64_t tag = 0) {
  return {.opcode = Opcode::copy,
          .source = what.from,
          .second = {},
          .destination = what.to,
          .count = what.bytes,
          .parameter = 0,
          .tag = tag};
}
// XXH64 of the bytes, seed 0: comes back as the result.
struct ChecksumOf {
  Operand from;
  std::uint64_t bytes = 0;
};
[[nodiscard]] constexpr Command checksum(ChecksumOf what, std::uint64_t tag = 0) {
  return {.opcode = Opcode::checksum,
          .source = what.from,
          .second = {},
          .destination = {},
          .count = what.bytes,
          .parameter = 0,
          .tag = tag};
}

struct CommandResult {
  std::uint64_t tag = 0;
  std::uint64_t result = 0;  // of sum and checksum; the address of a page fault or page request
  std::uint8_t status = 0;   // 0: done; otherwise describe_status() has the words
  [[nodiscard]] bool ok() const { return status == 0; }
  // No result yet: the command waits for Channel::answer().
  [[nodiscard]] bool is_page_request() const { return status == 8 || status == 9; }
  [[nodiscard]] bool wants_to_write() const { return status == 9; }
};
[[nodiscard]] std::string describe_status(std::uint8_t status);

}  // namespace barter::drivers::accelerator
