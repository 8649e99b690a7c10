#include "topology/matrix.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <optional>
#include <utility>

#include "topology/host_bridges.h"
#include "topology/linux_rule.h"
#include "topology/matrix_layout.h"
#include "topology/wire_rule.h"

namespace barter::topology {
namespace {

// What becomes of clients below one child of the crossing, by what is on their way up to it (ClientClass).
using ByClass = std::array<PairRoutes, kClientClasses>;

constexpr PairRoutes pack(Route by_linux, WireRoutes by_wire) {
  return {.raw = static_cast<std::uint8_t>(static_cast<unsigned>(by_linux) | static_cast<unsigned>(by_wire.read) << 2 |
                                           static_cast<unsigned>(by_wire.write) << 4)};
}

// The functions that find_crossing treats alike at the client's side, as long as Egress Control is off there: that one
// asks who the peer is.
constexpr std::uint8_t kRequestClasses = 9;
constexpr std::uint8_t kAsksWho = 9;
constexpr std::uint8_t kUnreadable = 0;

std::uint8_t request_class(const FunctionInfo& function) {
  if (!function.acs) return linux_redirects(function) == Tri::unknown ? kUnreadable : std::uint8_t{1};
  const unsigned control = *function.acs ? (*function.acs)->control : 0u;
  if (control & acs_bit::kEgressControl) return kAsksWho;
  return static_cast<std::uint8_t>(1 + ((control & acs_bit::kTranslationBlocking) ? 1 : 0) +
                                   ((control & acs_bit::kDirectTranslated) ? 2 : 0) +
                                   ((control & acs_bit::kRequestRedirect) ? 4 : 0));
}

class MatrixFiller {
 public:
  explicit MatrixFiller(const Tree& tree) : tree_(tree), layout_(make_layout(tree)), pieces_(tree.nodes.size()) {
    lists_.reserve(tree.host_bridges.size());
    for (std::uint32_t host = 0; host < tree.host_bridges.size(); ++host) lists_.push_back(ask_list(tree, host, false));
    classes_.reserve(tree.functions.size());
    for (const FunctionInfo& function : tree.functions) classes_.push_back(request_class(function));
  }

  VerdictMatrix fill() {
    const std::size_t count = tree_.nodes.size();
    VerdictMatrix matrix{.count = count};
    // Rows are laid out in a buffer that stays in the cache and appended, so that each page of the result is touched once.
    matrix.routes.reserve(count * count);
    matrix.distances.reserve(count * count);
    std::vector<PairRoutes> routes(count);
    std::vector<std::uint16_t> distances(count);
    std::vector<PairRoutes> ordered_routes(count);
    std::vector<std::uint16_t> ordered_distances(count);
    for (Index provider = 0; provider < count; ++provider) {
      fill_row(provider, routes, distances);
      if (!layout_.is_index_order) {
        for (std::size_t at = 0; at < count; ++at) {
          ordered_routes[layout_.order[at]] = routes[at];
          ordered_distances[layout_.order[at]] = distances[at];
        }
      }
      const auto& row_routes = layout_.is_index_order ? routes : ordered_routes;
      const auto& row_distances = layout_.is_index_order ? distances : ordered_distances;
      matrix.routes.insert(matrix.routes.end(), row_routes.begin(), row_routes.end());
      matrix.distances.insert(matrix.distances.end(), row_distances.begin(), row_distances.end());
    }
    return matrix;
  }

 private:
  // From the provider up: at each step `common` is the lowest common function of the clients at hand, `side` its child
  // towards the provider.
  void fill_row(Index provider, std::vector<PairRoutes>& routes, std::vector<std::uint16_t>& distances) {
    Index side = kNone;
    Index common = provider;
    for (;;) {
      const Tri redirected = common == kNone ? Tri::yes : layout_.redirected_between(tree_, provider, common);
      const PairRoutes* piece = nullptr;
      if (side != kNone && layout_.below(side).bytes() > 0) {
        piece = shared_piece(common, side, redirected);
      } else {
        scratch_.resize(layout_.below(common).bytes());
        build_piece(common, side, redirected, scratch_.data());
        piece = scratch_.data();
      }
      const int above = common == kNone ? 0 : 2 * tree_.nodes[common].depth;
      copy_around(common, side, piece, static_cast<std::uint16_t>(tree_.nodes[provider].depth - above), routes,
                  distances);
      if (common == kNone) return;
      const std::size_t at = layout_.position[common];
      routes[at] = own_route(common, redirected);
      distances[at] = static_cast<std::uint16_t>(tree_.nodes[provider].depth - tree_.nodes[common].depth);
      side = common;
      common = tree_.nodes[common].parent;
    }
  }

  // Copies the piece into the row, but for the child towards the provider and what is below that.
  void copy_around(Index common, Index side, const PairRoutes* piece, std::uint16_t add,
                   std::vector<PairRoutes>& routes, std::vector<std::uint16_t>& distances) const {
    const Span whole = layout_.below(common);
    const auto copy = [&](std::size_t begin, std::size_t end) {
      if (begin >= end) return;
      std::memcpy(static_cast<void*>(&routes[begin]), piece + (begin - whole.begin), end - begin);
      const std::uint16_t* from = layout_.depth.data();
      std::uint16_t* to = distances.data();
      for (std::size_t at = begin; at < end; ++at) to[at] = static_cast<std::uint16_t>(from[at] + add);
    };
    if (side == kNone) return copy(whole.begin, whole.end);
    const Span inner = layout_.below(side);
    const std::size_t at = layout_.position[side];
    copy(whole.begin, at);
    copy(at + 1, inner.begin);
    copy(std::max<std::size_t>(inner.end, at + 1), whole.end);
  }

  // The client is the lowest common function itself: no port stands between it and what is below it.
  PairRoutes own_route(Index common, Tri redirected) const {
    const std::uint32_t host = tree_.nodes[common].host;
    const Tri allowed = redirected == Tri::yes ? allow(host, host) : Tri::unknown;
    return pack(linux_route(redirected, allowed), {.read = Route::bus_address, .write = Route::bus_address});
  }

  const PairRoutes* shared_piece(Index common, Index side, Tri redirected) {
    std::vector<PairRoutes>& piece = pieces_[side][static_cast<std::size_t>(redirected)];
    if (piece.empty()) {
      piece.resize(layout_.below(common).bytes());
      build_piece(common, side, redirected, piece.data());
    }
    return piece.data();
  }

  void build_piece(Index common, Index side, Tri redirected, PairRoutes* piece) {
    const Span whole = layout_.below(common);
    if (whole.bytes() == 0) return;
    start_tables(common, side);
    const auto children = common == kNone ? std::span<const Index>(tree_.on_root_bus) : tree_.children_of(common);
    const ClientClasses classes(layout_, common);
    for (Index child : children) {
      if (child == side) continue;
      const ByClass& routes = table_for({.common = common, .client_side = child, .provider_side = side}, redirected);
      const std::size_t at = layout_.position[child];
      piece[at - whole.begin] = routes[classes.of_child(at)];
      const Span below = layout_.below(child);
      for (std::size_t i = below.begin; i < below.end; ++i) piece[i - whole.begin] = routes[classes.of(i, at)];
    }
  }

  // Tables of one piece are kept by request class and, above the root ports, by host bridge as well.
  void start_tables(Index common, Index side) {
    ++stamp_;
    tables_.resize(
        std::max<std::size_t>(tables_.size(), kRequestClasses * (common == kNone ? tree_.host_bridges.size() : 1)));
    provider_host_ = side != kNone ? tree_.nodes[side].host : common != kNone ? tree_.nodes[common].host : 0;
  }

  const ByClass& table_for(const Meeting& meeting, Tri redirected) {
    const std::uint8_t asks = classes_[meeting.client_side];
    const std::uint32_t host = tree_.nodes[meeting.client_side].host;
    const bool alone = asks == kAsksWho || (meeting.common == kNone && asks == kUnreadable);
    if (alone) return single_ = make_table(meeting, redirected, host);
    Table& table = tables_[(meeting.common == kNone ? host * kRequestClasses : 0u) + asks];
    if (table.stamp != stamp_) {
      table.routes = make_table(meeting, redirected, host);
      table.stamp = stamp_;
    }
    return table.routes;
  }

  ByClass make_table(const Meeting& meeting, Tri redirected, std::uint32_t client_host) const {
    const Tri allowed = allow(client_host, provider_host_);
    const Crossing crossing = find_crossing(tree_, meeting, root_complex_turns(tree_, client_host, provider_host_));
    ByClass routes{};
    for (Tri translated : {Tri::no, Tri::yes, Tri::unknown}) {
      for (Tri blocked : {Tri::no, Tri::yes, Tri::unknown}) {
        const WireRoutes wire = wire_routes(crossing, {.translated = translated, .blocked_below = blocked});
        for (Tri client_side : {Tri::no, Tri::yes, Tri::unknown})
          routes[client_class(client_side, translated, blocked)] =
              pack(linux_route(any_of(redirected, client_side), allowed), wire);
      }
    }
    return routes;
  }

  Tri allow(std::uint32_t client_host, std::uint32_t provider_host) const {
    const Tri cpu = cpu_allows(tree_.cpu);
    const Tri list = list_allows(lists_[client_host], lists_[provider_host], client_host == provider_host);
    if (cpu == Tri::yes || list == Tri::yes) return Tri::yes;
    return cpu == Tri::no && list == Tri::no ? Tri::no : Tri::unknown;
  }

  struct Table {
    std::uint32_t stamp = 0;
    ByClass routes;
  };

  const Tree& tree_;
  Layout layout_;
  std::vector<ListAnswer> lists_;      // by host bridge
  std::vector<std::uint8_t> classes_;  // request classes, by function
  // By the crossing's child towards the provider, and by whether the provider's side redirects.
  std::vector<std::array<std::vector<PairRoutes>, 3>> pieces_;
  std::vector<PairRoutes> scratch_;
  std::vector<Table> tables_;
  ByClass single_{};
  std::uint32_t stamp_ = 0;
  std::uint32_t provider_host_ = 0;
};

}  // namespace

VerdictMatrix compute_matrix(const Tree& tree) { return MatrixFiller(tree).fill(); }

}  // namespace barter::topology
