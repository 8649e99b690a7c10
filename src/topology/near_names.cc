#include "topology/near_names.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace barter::topology {
namespace {

constexpr std::size_t kMaxShown = 5;
constexpr std::size_t kMaxNameBytes = 64;  // longer names than this are not compared

// Edits (insert, delete, replace) that turn one text into the other.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row[b.size()];
}

// Numbers that differ in the domain only, or in the function only.
bool is_near(const Bdf& a, const Bdf& b) {
  const bool same_place = a.bus == b.bus && a.device == b.device;
  return same_place && (a.domain == b.domain || a.function == b.function);
}

}  // namespace

std::vector<std::string> near_names(const Tree& tree, std::string_view wanted, const Bdf* bdf) {
  std::vector<std::pair<std::size_t, std::string>> near;
  for (const FunctionInfo& function : tree.functions) {
    if (bdf != nullptr) {
      if (is_near(function.bdf, *bdf))
        near.emplace_back(function.bdf.domain == bdf->domain ? 0 : 1, function.bdf.to_string());
      continue;
    }
    if (function.name.empty() || function.name.size() > kMaxNameBytes || wanted.size() > kMaxNameBytes) continue;
    const std::size_t distance = edits(wanted, function.name);
    if (distance <= std::max<std::size_t>(1, wanted.size() / 3)) near.emplace_back(distance, function.name);
  }
  std::sort(near.begin(), near.end());
  std::vector<std::string> names;
  for (auto& [distance, name] : near)
    if (names.size() < kMaxShown) names.push_back(std::move(name));
  return names;
}

}  // namespace barter::topology
