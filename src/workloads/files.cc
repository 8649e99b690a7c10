#include "workloads/files.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/random.h"

namespace barter::workloads {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;

struct Kind {
  const char* name;
  std::uint64_t least_bytes;
  std::uint64_t most_bytes;
};

// Of ten files three are small, six are textures, and one holds weights, which has most of the bytes.
Kind kind_of(base::Random& chance, std::uint64_t all_bytes) {
  const std::uint64_t dice = chance.below(10);
  if (dice < 3) return {"config", 100, 16 * kKiB};
  if (dice < 9) return {"texture", 16 * kKiB, 2 * kMiB};
  return {"weights", 4 * kMiB, std::max(32 * kMiB, all_bytes / 64)};
}

}  // namespace

std::vector<File> make_files(std::uint64_t bytes, std::size_t pairs, std::uint64_t seed) {
  base::Random chance(seed);
  std::vector<File> files;
  for (std::uint64_t left = bytes; left != 0;) {
    const Kind kind = kind_of(chance, bytes);
    const bool is_last = files.size() + 1 == kMaxFiles;
    const std::uint64_t drawn = kind.least_bytes + chance.below(kind.most_bytes - kind.least_bytes);
    const std::uint64_t size = is_last ? left : std::min(left, drawn);
    files.push_back({.name = fmt::format("{}{}", kind.name, files.size()),
                     .bytes = size,
                     .seed = chance.next(),
                     .span_bytes = (size + kFileAlignment - 1) / kFileAlignment * kFileAlignment});
    left -= size;
  }
  // The largest first, each to the pair that has least; then in order of names again.
  std::vector<File*> order;
  order.reserve(files.size());
  for (File& file : files) order.push_back(&file);
  std::ranges::sort(order,
                    [](const File* a, const File* b) { return a->bytes != b->bytes ? a->bytes > b->bytes : a < b; });
  std::vector<std::uint64_t> dealt(pairs);
  for (File* file : order) {
    file->pair = static_cast<std::size_t>(std::ranges::min_element(dealt) - dealt.begin());
    dealt[file->pair] += file->span_bytes;
  }
  std::ranges::fill(dealt, 0);
  for (File& file : files) {
    file.offset = dealt[file.pair];
    dealt[file.pair] += file.span_bytes;
  }
  return files;
}

std::uint64_t bytes_of_pair(std::span<const File> files, std::size_t pair) {
  std::uint64_t bytes = 0;
  for (const File& file : files)
    if (file.pair == pair) bytes += file.span_bytes;
  return bytes;
}

void fill_contents(const File& file, std::uint64_t offset, std::span<std::byte> into) {
  // Each word is drawn by its place alone, so that any part can be made.
  for (std::uint64_t at = 0; at < into.size(); at += sizeof(std::uint64_t)) {
    const std::uint64_t word = base::Random(file.seed + (offset + at)).next();
    std::memcpy(into.data() + at, &word, std::min<std::uint64_t>(sizeof word, into.size() - at));
  }
}

}  // namespace barter::workloads
