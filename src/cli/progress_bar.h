// A progress bar on standard error, if that is a terminal with a cursor; otherwise nothing at all.
#pragma once
#include <chrono>
#include <cstdint>

namespace barter::cli {

class ProgressBar {
 public:
  // `wanted` false keeps it silent on a terminal too.
  explicit ProgressBar(bool wanted);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  // Draws at most ten times a second, and once more at the end.
  void show(std::uint64_t done_bytes, std::uint64_t total_bytes);

 private:
  void draw(double part, double seconds, std::uint64_t done_bytes) const;

  bool on_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_ = start_;
};

}  // namespace barter::cli
