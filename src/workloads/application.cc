#include "workloads/application.h"

#include <chrono>

namespace barter::workloads {
namespace {

using Seconds = std::chrono::duration<double>;

std::uint64_t step(std::uint64_t word, std::size_t index) { return word * 6364136223846793005u + index; }

}  // namespace

Application::Application() : words_(kBytes / sizeof(std::uint64_t)) {}

double Application::work_for(double seconds) {
  const std::size_t blocks = words_.size() / kBlockWords;
  const base::TimePoint begin = clock_.now();
  std::uint64_t done = 0;
  double elapsed = 0;
  do {
    const std::size_t first = next_block_ * kBlockWords;
    for (std::size_t index = first; index < first + kBlockWords; ++index) words_[index] = step(words_[index], index);
    if (++next_block_ == blocks) {
      next_block_ = 0;
      ++rounds_;
    }
    ++done;
    elapsed = Seconds(clock_.now() - begin).count();
  } while (elapsed < seconds);
  return static_cast<double>(done) / static_cast<double>(blocks) / elapsed;
}

bool Application::is_right() const {
  constexpr std::size_t kEvery = 1009;
  for (std::size_t index = 0; index < words_.size(); index += kEvery) {
    const std::uint64_t times = rounds_ + (index / kBlockWords < next_block_ ? 1 : 0);
    std::uint64_t word = 0;
    for (std::uint64_t time = 0; time < times; ++time) word = step(word, index);
    if (word != words_[index]) return false;
  }
  return true;
}

}  // namespace barter::workloads
