#include "topology/matrix.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>

#include "topology/host_bridges.h"
#include "topology/linux_rule.h"
#include "topology/matrix_layout.h"
#include "topology/wire_rule.h"

namespace barter::topology {
namespace {

// Not the bits of any routes: what has not been asked yet.
constexpr PairRoutes kNotAsked{.raw = 0xff};

// Two bits each hold what PCIe's rules say; the routes of interconnects are none of theirs.
static_assert(static_cast<unsigned>(Route::not_supported) == 3 && static_cast<unsigned>(Route::link) > 3);
constexpr PairRoutes pack(Route by_linux, WireRoutes by_wire) {
  return {.raw = static_cast<std::uint8_t>(static_cast<unsigned>(by_linux) | static_cast<unsigned>(by_wire.read) << 2 |
                                           static_cast<unsigned>(by_wire.write) << 4)};
}

// Compilers vectorise the inner loop without being asked to, because its count is known.
void add_to_all(std::span<const std::uint16_t> all, std::uint16_t add, std::uint16_t* __restrict to) {
  constexpr std::size_t kAtOnce = 32;
  const std::uint16_t* __restrict from = all.data();
  std::size_t at = 0;
  for (; at + kAtOnce <= all.size(); at += kAtOnce)
    for (std::size_t i = 0; i < kAtOnce; ++i) to[at + i] = static_cast<std::uint16_t>(from[at + i] + add);
  for (; at < all.size(); ++at) to[at] = static_cast<std::uint16_t>(from[at] + add);
}

class MatrixFiller {
 public:
  explicit MatrixFiller(const Tree& tree)
      : tree_(tree),
        layout_(make_layout(tree)),
        pieces_(tree.nodes.size()),
        root_pieces_(tree.host_bridges.size()),
        roots_are_alike_(roots_are_alike()) {
    lists_.reserve(tree.host_bridges.size());
    for (std::uint32_t host = 0; host < tree.host_bridges.size(); ++host) lists_.push_back(ask_list(tree, host, false));
  }

  VerdictMatrix fill() {
    const std::size_t slots = layout_.order.size();
    VerdictMatrix matrix{.count = tree_.nodes.size(), .slot_of = layout_.position, .twin_of = layout_.twin};
    // Rows are laid out in a buffer that stays in the cache and appended, so that each page of the result is touched once.
    matrix.slot_routes.reserve(slots * slots);
    matrix.slot_distances.reserve(slots * slots);
    std::vector<PairRoutes> routes(slots);
    std::vector<std::uint16_t> distances(slots);
    for (Index provider : layout_.order) {
      fill_row(provider, routes, distances);
      matrix.slot_routes.insert(matrix.slot_routes.end(), routes.begin(), routes.end());
      matrix.slot_distances.insert(matrix.slot_distances.end(), distances.begin(), distances.end());
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
      if (common == kNone && roots_are_alike_) {
        piece = root_piece(side);
      } else if (side != kNone && layout_.below(side).bytes() > 0) {
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
      add_to_all({&layout_.depth[begin], end - begin}, add, &distances[begin]);
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

  // Above the root ports, the provider's side matters by its host bridge and by being a root port or not, as long as no
  // port there asks who the peer is. Such a piece covers the side itself, too, which nobody reads.
  const PairRoutes* root_piece(Index side) {
    const bool is_root_port = *tree_.functions[side].port_type == PortType::root_port;
    std::vector<PairRoutes>& piece = root_pieces_[tree_.nodes[side].host][is_root_port ? 1 : 0];
    if (piece.empty()) {
      piece.resize(layout_.order.size());
      build_piece(kNone, side, Tri::yes, piece.data());
    }
    return piece.data();
  }

  [[nodiscard]] bool roots_are_alike() const {
    return std::all_of(tree_.on_root_bus.begin(), tree_.on_root_bus.end(), [this](Index i) {
      return tree_.functions[i].port_type.has_value() && layout_.request_class[i] != kAsksWho;
    });
  }

  void build_piece(Index common, Index side, Tri redirected, PairRoutes* piece) {
    const Span whole = layout_.below(common);
    if (whole.bytes() == 0) return;
    start_tables(common, side, redirected);
    const auto children = common == kNone ? std::span<const Index>(tree_.on_root_bus) : tree_.children_of(common);
    const ClientClasses classes(layout_, common);
    for (Index child : children) {
      if ((child == side && common != kNone) || !layout_.laid_out[child]) continue;
      Table& table = table_for({.common = common, .client_side = child, .provider_side = side});
      const std::size_t at = layout_.position[child];
      piece[at - whole.begin] = look_up(table, classes.of_child(at), redirected);
      const Span below = layout_.below(child);
      for (std::size_t i = below.begin; i < below.end; ++i)
        piece[i - whole.begin] = look_up(table, classes.of(i, at), redirected);
    }
  }

  // What becomes of clients below one child of the crossing, by what is on their way up to it (client_class).
  struct Table {
    std::uint32_t stamp = 0;
    Tri allowed = Tri::unknown;
    Crossing crossing;
    std::array<PairRoutes, kClientClasses> routes;
  };

  static PairRoutes look_up(Table& table, std::size_t client, Tri redirected) {
    PairRoutes& routes = table.routes[client];
    if (routes == kNotAsked) {
      const Requester requester{.translated = static_cast<Tri>(client / 3 % 3),
                                .blocked_below = static_cast<Tri>(client % 3)};
      routes = pack(linux_route(any_of(redirected, static_cast<Tri>(client / 9)), table.allowed),
                    wire_routes(table.crossing, requester));
    }
    return routes;
  }

  // Tables are good for one crossing and one kind of provider's side; they are kept by request class and, above the root
  // ports, by host bridge as well.
  void start_tables(Index common, Index side, Tri redirected) {
    const std::uint32_t host = side != kNone ? tree_.nodes[side].host : common != kNone ? tree_.nodes[common].host : 0;
    const Kind kind{.common = common,
                    .side = side == kNone || common == kNone ? 3u : static_cast<unsigned>(layout_.completions[side]),
                    .host = host,
                    .redirected = redirected};
    if (stamp_ != 0 && kind == kind_ && common != kNone) return;
    kind_ = kind;
    ++stamp_;
    const std::size_t hosts = common == kNone ? tree_.host_bridges.size() : 1;
    if (tables_.size() < kRequestClasses * hosts) tables_.resize(kRequestClasses * hosts);
  }

  Table& table_for(const Meeting& meeting) {
    const std::uint8_t asks = layout_.request_class[meeting.client_side];
    const std::uint32_t host = tree_.nodes[meeting.client_side].host;
    const bool alone = asks == kAsksWho || (meeting.common == kNone && asks == kUnreadable);
    Table& table = alone ? single_ : tables_[(meeting.common == kNone ? host * kRequestClasses : 0u) + asks];
    if (alone || table.stamp != stamp_) {
      table.stamp = stamp_;
      table.allowed = allow(host, kind_.host);
      table.crossing = find_crossing(tree_, meeting, root_complex_turns(tree_, host, kind_.host, table.allowed));
      table.routes.fill(kNotAsked);
    }
    return table;
  }

  Tri allow(std::uint32_t client_host, std::uint32_t provider_host) const {
    return host_bridges_allow(tree_.cpu, lists_[client_host], lists_[provider_host], client_host == provider_host);
  }

  struct Kind {
    Index common = kNone;
    unsigned side = 0;
    std::uint32_t host = 0;
    Tri redirected = Tri::no;
    friend bool operator==(const Kind&, const Kind&) = default;
  };

  const Tree& tree_;
  Layout layout_;
  std::vector<ListAnswer> lists_;  // by host bridge
  // By the crossing's child towards the provider, and by whether the provider's side redirects.
  std::vector<std::array<std::vector<PairRoutes>, 3>> pieces_;
  std::vector<std::array<std::vector<PairRoutes>, 2>> root_pieces_;  // by host bridge, and for a root port's side
  bool roots_are_alike_;                                             // asked of tree_ and layout_
  std::vector<PairRoutes> scratch_;
  std::vector<Table> tables_;
  Table single_;
  Kind kind_;
  std::uint32_t stamp_ = 0;
};

}  // namespace

VerdictMatrix compute_matrix(const Tree& tree) { return MatrixFiller(tree).fill(); }

}  // namespace barter::topology
