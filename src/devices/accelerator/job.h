// One command at work (docs/devices/accelerator.md, section 3): checked as a whole, then done in slices, so that the other
// channels and other devices get their turn, and so that peers see the memory change while it runs.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "devices/accelerator/commands.h"
#include "devices/accelerator/kernels.h"
#include "devices/accelerator/memory_access.h"

namespace barter::devices::accelerator {

enum class Engine : std::uint8_t { copy, compute };

class Job {
 public:
  Job(MemoryAccess& memory, Engine engine);

  // `done` is a command that can be: advance() it.
  [[nodiscard]] CommandStatus begin(const Descriptor& descriptor);
  // Works through about so many bytes more. After a page fault it may be called again, once the page is there: what was done is not
  // done twice, unless that makes no difference.
  [[nodiscard]] CommandStatus advance(std::uint64_t budget_bytes);
  [[nodiscard]] bool is_finished() const { return is_finished_; }
  [[nodiscard]] std::uint64_t done_bytes() const { return done_bytes_; }
  [[nodiscard]] std::uint64_t result() const { return result_; }

 private:
  [[nodiscard]] CommandStatus check_operands() const;
  [[nodiscard]] CommandStatus begin_filter();
  [[nodiscard]] CommandStatus copy_some(std::uint64_t budget_bytes);
  [[nodiscard]] CommandStatus fill_some(std::uint64_t budget_bytes);
  [[nodiscard]] CommandStatus filter_some(std::uint64_t budget_bytes);
  [[nodiscard]] CommandStatus compute_some(std::uint64_t budget_bytes);
  // The block of the source that comes next, and what an opcode makes of it.
  [[nodiscard]] CommandStatus compute_block(std::size_t bytes);
  [[nodiscard]] CommandStatus add_block(std::size_t bytes);
  [[nodiscard]] CommandStatus finish();

  static constexpr std::size_t kBlockBytes = 65536;
  static constexpr std::uint32_t kWidestPicture = 16384;

  MemoryAccess& memory_;
  const Engine engine_;
  Descriptor descriptor_;
  Opcode opcode_ = Opcode::nop;
  MemoryAccess::Operand source_;
  MemoryAccess::Operand second_;
  MemoryAccess::Operand destination_;
  std::uint64_t total_bytes_ = 0;
  std::uint64_t done_bytes_ = 0;
  bool is_finished_ = false;
  std::uint64_t result_ = 0;
  std::array<std::uint64_t, 256> counts_{};
  Checksum checksum_;
  FilterWeights weights_;
  std::uint64_t width_ = 0;
  // Blocks of operands that are not plain local memory; the third one is what goes to the destination.
  std::unique_ptr<std::array<std::array<std::byte, kBlockBytes>, 3>> scratch_;
};

}  // namespace barter::devices::accelerator
