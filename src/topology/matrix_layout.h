// The order in which a row of the matrix is laid out, and what each client has on its way up, as running counts: what
// lies between two functions of one way is the difference of two counts.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "barter/topology.hpp"
#include "topology/graph.h"

namespace barter::topology {

struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
  [[nodiscard]] std::size_t bytes() const { return end - begin; }
};

// How many functions on the way from the root bus down to here, both included, answer a question so.
struct Counts {
  std::uint16_t yes = 0;
  std::uint16_t unknown = 0;
};

// All that is below a bridge lies side by side: first its children, then what is below the first of them, and so on.
//
// Of functions below one bridge that nothing tells apart, two are laid out: the first, and one that stands for all others.
// Two, because what such a function is to another of its kind is not what it is to itself.
struct Layout {
  std::vector<Index> order;             // by position
  std::vector<std::uint32_t> position;  // by index; of one that is not laid out, of the one that stands for it
  std::vector<std::uint32_t> twin;      // by position: of the one that stands for the others, the first; else itself
  std::vector<Span> ranges;             // by index: what is below it
  std::vector<bool> laid_out;           // by index
  std::vector<std::uint8_t> request_class;  // by index
  std::vector<Tri> completions;             // by index: does Completion Redirect act here?

  std::vector<std::uint16_t> depth;    // by position
  std::vector<Counts> redirecting;     // by position: functions that Linux counts
  std::vector<Counts> blocking;        // by position: functions with Translation Blocking on
  std::vector<Counts> blocking_above;  // by position: the same, but for the function itself
  std::vector<Tri> translated;         // by position: does the function make translated requests?

  // What is below a function; of kNone, the root complex: everything.
  [[nodiscard]] Span below(Index index) const { return index == kNone ? Span{0, order.size()} : ranges[index]; }
  // Does Linux count a redirection on the way from `low` up to `high`, both included?
  [[nodiscard]] Tri redirected_between(const Tree& tree, Index low, Index high) const;
};
[[nodiscard]] Layout make_layout(const Tree& tree);

// The functions that find_crossing treats alike at the client's side, as long as Egress Control is off there: that one
// asks who the peer is.
inline constexpr std::uint8_t kRequestClasses = 9;
inline constexpr std::uint8_t kUnreadable = 0;
inline constexpr std::uint8_t kAsksWho = 9;

inline constexpr std::size_t kClientClasses = 27;
[[nodiscard]] constexpr std::size_t client_class(Tri redirected, Tri translated, Tri blocked) {
  return static_cast<std::size_t>(redirected) * 9 + static_cast<std::size_t>(translated) * 3 +
         static_cast<std::size_t>(blocked);
}

[[nodiscard]] constexpr Tri between(Counts low, Counts high) {
  if (low.yes != high.yes) return Tri::yes;
  return low.unknown != high.unknown ? Tri::unknown : Tri::no;
}

// Of clients whose way parts from the provider's below `common`.
class ClientClasses {
 public:
  ClientClasses(const Layout& layout, Index common) : layout_(layout) {
    if (common != kNone) above_ = layout.redirecting[layout.position[common]];
  }
  // The client is the child of `common` itself.
  [[nodiscard]] std::size_t of_child(std::size_t child) const {
    return client_class(between(layout_.redirecting[child], above_), layout_.translated[child], Tri::no);
  }
  // The client is below the child. Between the two are the ports above the client but for the child and those above it.
  [[nodiscard]] std::size_t of(std::size_t client, std::size_t child) const {
    return client_class(between(layout_.redirecting[client], above_), layout_.translated[client],
                        between(layout_.blocking_above[client], layout_.blocking[child]));
  }

 private:
  const Layout& layout_;
  Counts above_;
};

}  // namespace barter::topology
