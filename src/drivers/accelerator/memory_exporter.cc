#include "drivers/accelerator/memory_exporter.h"

#include "drivers/command_register.h"

namespace barter::drivers::accelerator {

MemoryExporter::MemoryExporter(Accelerator& accelerator)
    : accelerator_(accelerator),
      function_(accelerator.function().bdf()),
      shown_(accelerator.usable_window()),
      address_(accelerator.window_address()) {
  accelerator.pin_window();
}

std::span<std::byte> MemoryExporter::cpu_bytes(MemoryRange range) {
  if (!MemoryRange{0, shown_.bytes}.contains(range)) return {};
  return accelerator_.window_bytes(range);
}

bool MemoryExporter::is_present() { return is_there(accelerator_.function()); }

}  // namespace barter::drivers::accelerator
