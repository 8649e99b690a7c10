#include "cli/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include <fmt/format.h>

#include "cli/arguments.h"
#include "cli/render.h"

namespace barter::cli {

ProgressBar::ProgressBar(bool wanted) : on_(wanted && obeys_escapes(STDERR_FILENO)) {}

ProgressBar::~ProgressBar() {
  if (drawn_) fmt::print(stderr, "\r\033[K");
}

void ProgressBar::show(std::uint64_t done_bytes, std::uint64_t total_bytes) {
  if (!on_ || total_bytes == 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < std::chrono::milliseconds(100) && done_bytes != total_bytes) return;
  last_ = now;
  drawn_ = true;
  draw(static_cast<double>(done_bytes) / static_cast<double>(total_bytes),
       std::chrono::duration<double>(now - start_).count(), done_bytes);
}

void ProgressBar::draw(double part, double seconds, std::uint64_t done_bytes) const {
  constexpr int kCells = 40;
  const int full = std::clamp(static_cast<int>(part * kCells), 0, kCells);
  const double rate = seconds > 0 ? static_cast<double>(done_bytes) / seconds / 1e9 : 0;
  const std::string bar(static_cast<std::size_t>(full), '#');
  fmt::print(stderr, "\r[{:<{}}] {:3.0f}%  {}  {:.2f} GB/s\033[K", bar, kCells, part * 100, format_size(done_bytes),
             rate);
  std::fflush(stderr);
}

}  // namespace barter::cli
