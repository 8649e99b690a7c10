// A program that works on host memory and has nothing to do with devices: it goes over a large array again and again, reading and
// writing every word. How often it gets round is its speed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace barter::workloads {

class Application {
 public:
  static constexpr std::size_t kBytes = std::size_t{128} << 20;  // more than most caches hold

  Application();
  // Works for so long, on the thread that calls, and gives the rounds a second.
  [[nodiscard]] double work_for(double seconds);
  // Is its memory what that much work must have made of it? Looks at one word of a thousand.
  [[nodiscard]] bool is_right() const;

 private:
  static constexpr std::size_t kBlockWords = std::size_t{1} << 17;  // between two looks at the clock
  const base::SystemClock clock_;
  std::vector<std::uint64_t> words_;
  std::size_t next_block_ = 0;
  std::uint64_t rounds_ = 0;  // whole ones, over all of the memory
};

}  // namespace barter::workloads
