#include "topology/matrix_layout.h"

#include <span>

#include "topology/linux_rule.h"
#include "topology/wire_rule.h"

namespace barter::topology {
namespace {

// Nests as deep as the tree, which grow() limits.
void lay_out(const Tree& tree, std::span<const Index> siblings, Layout& layout) {
  for (Index i : siblings) {
    layout.position[i] = layout.order.size();
    layout.order.push_back(i);
  }
  for (Index i : siblings) {
    layout.ranges[i].begin = layout.order.size();
    lay_out(tree, tree.children_of(i), layout);
    layout.ranges[i].end = layout.order.size();
  }
}

Counts count(Counts counts, Tri answer) {
  if (answer == Tri::yes) ++counts.yes;
  if (answer == Tri::unknown) ++counts.unknown;
  return counts;
}

}  // namespace

Tri Layout::redirected_between(const Tree& tree, Index low, Index high) const {
  const Index above = tree.nodes[high].parent;
  return between(redirecting[position[low]], above == kNone ? Counts{} : redirecting[position[above]]);
}

Layout make_layout(const Tree& tree) {
  const std::size_t functions = tree.nodes.size();
  Layout layout;
  layout.order.reserve(functions);
  layout.position.resize(functions);
  layout.ranges.resize(functions);
  lay_out(tree, tree.on_root_bus, layout);

  layout.depth.resize(functions);
  layout.redirecting.resize(functions);
  layout.blocking.resize(functions);
  layout.blocking_above.resize(functions);
  layout.translated.resize(functions);
  for (std::size_t at = 0; at < functions; ++at) {
    const Index i = layout.order[at];
    const FunctionInfo& function = tree.functions[i];
    const Node& node = tree.nodes[i];
    if (i != at) layout.is_index_order = false;
    // A parent is laid out before its children.
    const bool is_root = node.parent == kNone;
    const std::size_t parent = is_root ? at : layout.position[node.parent];
    layout.depth[at] = node.depth;
    layout.redirecting[at] = count(is_root ? Counts{} : layout.redirecting[parent], linux_redirects(function));
    layout.blocking_above[at] = is_root ? Counts{} : layout.blocking[parent];
    layout.blocking[at] = count(layout.blocking_above[at], blocks_translated(function));
    layout.translated[at] = !function.ats_enabled ? Tri::unknown : *function.ats_enabled ? Tri::yes : Tri::no;
  }
  return layout;
}

}  // namespace barter::topology
