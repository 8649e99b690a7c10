// The seam to whatever moves the bytes of pages between host memory and devices, and between devices.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "peer/exporter.h"

namespace barter::peer {

// One end of a move: whole pages that nobody else uses meanwhile.
struct PageBytes {
  Exporter* exporter = nullptr;
  MemoryRange range;               // within the exporter's memory
  std::span<std::byte> cpu_bytes;  // the CPU's view; empty if it has none
};

class PageMover {
 public:
  virtual ~PageMover() = default;
  // Both ends have the same size. After an error the bytes at `from` are as they were, as far as their device is there.
  // Must not touch managed memory by its own pointer. Any thread.
  [[nodiscard]] virtual Result<void> move(const PageBytes& from, const PageBytes& to) = 0;
};

// By the CPU.
class CpuMover final : public PageMover {
 public:
  [[nodiscard]] Result<void> move(const PageBytes& from, const PageBytes& to) override {
    for (const PageBytes* end : {&from, &to})
      if (end->cpu_bytes.size() != end->range.bytes)
        return fail({.code = ErrorCode::unsupported,
                     .doing = "moving pages to or from",
                     .subject = end->exporter->function().to_string(),
                     .why = "the CPU has no view of its memory",
                     .cure = "use memory that lies in the device's window"});
    std::ranges::copy(from.cpu_bytes, to.cpu_bytes.begin());
    return {};
  }
};

}  // namespace barter::peer
