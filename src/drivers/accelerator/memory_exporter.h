// What an accelerator's window shows of its memory, exported to peers (peer/owned_exporter.h). The window stays where it is
// from then on. Memory that the window does not show can't be exported: a request for more than it holds is refused by size.
//
// Threads: any, as the seam asks. The accelerator outlives the exporter.
#pragma once
#include <optional>

#include "drivers/accelerator/accelerator.h"
#include "peer/owned_exporter.h"

namespace barter::drivers::accelerator {

class MemoryExporter final : public peer::OwnedExporter {
 public:
  explicit MemoryExporter(Accelerator& accelerator);

  [[nodiscard]] Bdf function() const override { return function_; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return shown_.bytes; }
  [[nodiscard]] BusAddress bus_address() const override { return address_; }
  [[nodiscard]] Access hardware_access() const override { return Access::read_write; }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange range) override;
  [[nodiscard]] bool is_present() override;
  // Where a part of what is exported lies in the accelerator's memory, for its own engines.
  [[nodiscard]] Operand operand(MemoryRange range) const { return Operand::local(shown_.offset + range.offset); }

 protected:
  [[nodiscard]] std::optional<Answer> ruled_out(const Request&) const override { return std::nullopt; }

 private:
  Accelerator& accelerator_;
  Bdf function_;
  MemoryRange shown_;
  BusAddress address_;
};

}  // namespace barter::drivers::accelerator
