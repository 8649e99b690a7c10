#include "topology/bar_overlap.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include <fmt/format.h>

namespace barter::topology {
namespace {

struct Claim {
  std::uint32_t domain = 0;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  Bdf function;
  std::uint8_t bar = 0;
};

std::string words(const Claim& claim) {
  return fmt::format("BAR {} of {} at 0x{:x}", claim.bar, claim.function.to_string(), claim.first);
}

}  // namespace

Result<void> refuse_overlapping_bars(std::span<const FunctionInfo> functions, std::string_view source) {
  std::vector<Claim> claims;
  for (const FunctionInfo& function : functions) {
    for (const BarInfo& bar : function.bars) {
      if (bar.kind != BarInfo::Kind::memory || !bar.address) continue;
      const std::uint64_t first = bar.address->value;
      const std::uint64_t more = std::max<std::uint64_t>(bar.size_bytes.value_or(1), 1) - 1;
      const std::uint64_t last = first + std::min(more, std::numeric_limits<std::uint64_t>::max() - first);
      claims.push_back({function.bdf.domain, first, last, function.bdf, bar.index});
    }
  }
  std::sort(claims.begin(), claims.end(), [](const Claim& left, const Claim& right) {
    return std::tie(left.domain, left.first, left.function) < std::tie(right.domain, right.first, right.function);
  });
  const Claim* widest = nullptr;  // of those so far in this domain, the one that reaches furthest
  for (const Claim& claim : claims) {
    if (widest != nullptr && widest->domain == claim.domain && claim.first <= widest->last)
      return fail({.code = ErrorCode::malformed,
                   .doing = "reading the BARs in",
                   .subject = std::string(source),
                   .where = "function " + claim.function.to_string(),
                   .why = fmt::format("{} overlaps {}", words(claim), words(*widest)),
                   .cure = "capture the machine again while nothing changes its devices"});
    if (widest == nullptr || widest->domain != claim.domain || claim.last > widest->last) widest = &claim;
  }
  return {};
}

}  // namespace barter::topology
