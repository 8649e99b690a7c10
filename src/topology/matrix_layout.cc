#include "topology/matrix_layout.h"

#include <algorithm>
#include <array>
#include <span>

#include "topology/acs_rules.h"
#include "topology/linux_rule.h"
#include "topology/wire_rule.h"

namespace barter::topology {
namespace {

constexpr std::size_t kKinds = std::size_t{3} * 3 * 3 * kRequestClasses;

Tri translates(const FunctionInfo& function) {
  if (!function.ats_enabled) return Tri::unknown;
  return *function.ats_enabled ? Tri::yes : Tri::no;
}

std::uint8_t request_class_of(const FunctionInfo& function) {
  if (!function.acs) return linux_redirects(function) == Tri::unknown ? kUnreadable : std::uint8_t{1};
  const unsigned control = *function.acs ? (*function.acs)->control : 0u;
  if (control & acs_bit::kEgressControl) return kAsksWho;
  return static_cast<std::uint8_t>(1 + ((control & acs_bit::kTranslationBlocking) ? 1 : 0) +
                                   ((control & acs_bit::kDirectTranslated) ? 2 : 0) +
                                   ((control & acs_bit::kRequestRedirect) ? 4 : 0));
}

Tri redirects_completions(const FunctionInfo& function) {
  if (!function.acs) return linux_redirects(function);
  const unsigned control = *function.acs ? (*function.acs)->control : 0u;
  return (control & acs_bit::kCompletionRedirect) ? Tri::yes : Tri::no;
}

// All by which the rules tell siblings with nothing below them apart.
std::size_t kind_of(const FunctionInfo& function, std::uint8_t request_class) {
  std::size_t kind = request_class;
  for (Tri tri : {linux_redirects(function), redirects_completions(function), translates(function)})
    kind = kind * 3 + static_cast<std::size_t>(tri);
  return kind;
}

Counts count(Counts counts, Tri answer) {
  if (answer == Tri::yes) ++counts.yes;
  if (answer == Tri::unknown) ++counts.unknown;
  return counts;
}

class LayoutMaker {
 public:
  explicit LayoutMaker(const Tree& tree) : tree_(tree) {
    const std::size_t functions = tree.functions.size();
    layout_.order.reserve(functions);
    layout_.twin.reserve(functions);
    layout_.position.resize(functions);
    layout_.ranges.resize(functions);
    layout_.laid_out.resize(functions);
    layout_.request_class.reserve(functions);
    layout_.completions.reserve(functions);
    for (const FunctionInfo& function : tree.functions) {
      layout_.request_class.push_back(request_class_of(function));
      layout_.completions.push_back(redirects_completions(function));
    }
  }

  Layout make() {
    for (Index i : tree_.on_root_bus) place(i);
    lay_out_below(tree_.on_root_bus);
    count_all();
    return std::move(layout_);
  }

 private:
  std::uint32_t place(Index i) {
    const auto at = static_cast<std::uint32_t>(layout_.order.size());
    layout_.position[i] = at;
    layout_.laid_out[i] = true;
    layout_.order.push_back(i);
    layout_.twin.push_back(at);
    return at;
  }

  // Nests as deep as the tree, which grow() limits.
  void lay_out_below(std::span<const Index> siblings) {
    for (Index i : siblings) {
      if (!layout_.laid_out[i]) continue;
      layout_.ranges[i].begin = layout_.order.size();
      place_children(tree_.children_of(i));
      lay_out_below(tree_.children_of(i));
      layout_.ranges[i].end = layout_.order.size();
    }
  }

  void place_children(std::span<const Index> siblings) {
    // Egress Control tells siblings apart by their numbers.
    const bool alike = siblings.size() > 2 && std::none_of(siblings.begin(), siblings.end(), [this](Index i) {
                         return layout_.request_class[i] == kAsksWho;
                       });
    ++stamp_;
    for (Index i : siblings) {
      if (!alike || tree_.functions[i].is_bridge()) {
        place(i);
        continue;
      }
      Kind& kind = kinds_[kind_of(tree_.functions[i], layout_.request_class[i])];
      if (kind.stamp != stamp_) {
        kind = {.stamp = stamp_, .members = 1, .last = place(i)};
      } else if (kind.members == 1) {
        const std::uint32_t first = kind.last;
        kind.members = 2;
        kind.last = place(i);
        layout_.twin[kind.last] = first;
      } else {
        layout_.position[i] = kind.last;
      }
    }
  }

  void count_all() {
    const std::size_t slots = layout_.order.size();
    layout_.depth.resize(slots);
    layout_.redirecting.resize(slots);
    layout_.blocking.resize(slots);
    layout_.blocking_above.resize(slots);
    layout_.translated.resize(slots);
    for (std::size_t at = 0; at < slots; ++at) {
      const FunctionInfo& function = tree_.functions[layout_.order[at]];
      const Node& node = tree_.nodes[layout_.order[at]];
      // A parent is laid out before its children.
      const bool is_root = node.parent == kNone;
      const std::size_t parent = is_root ? at : layout_.position[node.parent];
      layout_.depth[at] = node.depth;
      layout_.redirecting[at] = count(is_root ? Counts{} : layout_.redirecting[parent], linux_redirects(function));
      layout_.blocking_above[at] = is_root ? Counts{} : layout_.blocking[parent];
      layout_.blocking[at] = count(layout_.blocking_above[at], blocks_translated(function));
      layout_.translated[at] = translates(function);
    }
  }

  struct Kind {
    std::uint32_t stamp = 0;
    std::uint32_t members = 0;
    std::uint32_t last = 0;  // position
  };

  const Tree& tree_;
  Layout layout_;
  std::array<Kind, kKinds> kinds_{};
  std::uint32_t stamp_ = 0;
};

}  // namespace

Tri Layout::redirected_between(const Tree& tree, Index low, Index high) const {
  const Index above = tree.nodes[high].parent;
  return between(redirecting[position[low]], above == kNone ? Counts{} : redirecting[position[above]]);
}

Layout make_layout(const Tree& tree) { return LayoutMaker(tree).make(); }

}  // namespace barter::topology
