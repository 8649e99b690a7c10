#include "topology/linux_rule.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "topology/host_bridges.h"
#include "topology/remedies.h"

namespace barter::topology {
namespace {

// Every function whose ACS Linux looks at, in the order in which it counts them: from the provider up to the lowest
// common function, that one included, then from the client up to it.
std::vector<Index> counted_functions(const Tree& tree, const Meeting& meeting, Index client, Index provider) {
  std::vector<Index> counted;
  for (Index at = provider; at != meeting.common; at = tree.nodes[at].parent) counted.push_back(at);
  counted.push_back(meeting.common);
  for (Index at = client; at != meeting.common; at = tree.nodes[at].parent) counted.push_back(at);
  return counted;
}

Fact acs_fact(const FunctionInfo& function) {
  const std::string bdf = function.bdf.to_string();
  if (!function.acs)
    return {bdf, "ACSCtl", "unknown",
            fmt::format("whether Linux sees a redirection here is unknown: {}", function.acs.why_unknown())};
  const std::uint16_t control = (*function.acs)->control;
  constexpr std::pair<std::uint16_t, const char*> kNames[] = {
      {0x04, "ReqRedir"}, {0x08, "CmpltRedir"}, {0x20, "EgressCtrl"}};
  std::string names;
  for (const auto& [bit, name] : kNames)
    if (control & bit) names += names.empty() ? name : fmt::format(",{}", name);
  return {bdf, "ACSCtl." + names, "1",
          "Linux takes each of these bits for a redirection to the root complex, anywhere on the way and in either "
          "direction"};
}

Fact common_fact(const Tree& tree, const Meeting& meeting, Index client, Index provider) {
  const std::string bdf = tree.functions[meeting.common].bdf.to_string();
  if (client == provider) return {bdf, "upstream bridge", bdf, "client and provider are one function"};
  return {bdf, "upstream bridge", bdf,
          "the nearest function above both client and provider, so the way need not pass a host bridge"};
}

Fact no_common_fact(const Tree& tree, Index client, Index provider) {
  const HostBridgeInfo& above_client = tree.host_bridges[tree.nodes[client].host];
  const HostBridgeInfo& above_provider = tree.host_bridges[tree.nodes[provider].host];
  const bool same = tree.nodes[client].host == tree.nodes[provider].host;
  return {
      host_bridge_name(above_provider), "upstream bridge", "none",
      same ? "client and provider share no upstream bridge below this host bridge, so requests pass through it"
           : fmt::format("client and provider are below different host bridges, the client below {}, so requests pass "
                         "through both",
                         host_bridge_name(above_client))};
}

}  // namespace

Tri linux_redirects(const FunctionInfo& function) {
  if (function.acs) return *function.acs && ((*function.acs)->control & kLinuxRedirectBits) != 0 ? Tri::yes : Tri::no;
  // ACS is an extended capability, which only functions with a PCI Express capability have.
  if (function.port_type && *function.port_type == PortType::conventional) return Tri::no;
  return Tri::unknown;
}

std::uint16_t linux_distance(const Tree& tree, Index client, Index provider) {
  const Index common = meet(tree, client, provider).common;
  const int above = common == kNone ? 0 : 2 * tree.nodes[common].depth;
  return static_cast<std::uint16_t>(tree.nodes[client].depth + tree.nodes[provider].depth - above);
}

LinuxAnswer linux_answer(const Tree& tree, Index client, Index provider) {
  const Meeting meeting = meet(tree, client, provider);
  LinuxAnswer answer{.distance = linux_distance(tree, client, provider)};
  Tri redirected = Tri::yes;
  std::vector<Index> redirecting;
  if (meeting.common == kNone) {
    answer.facts.push_back(no_common_fact(tree, client, provider));
  } else {
    redirected = Tri::no;
    answer.facts.push_back(common_fact(tree, meeting, client, provider));
    const std::vector<Index> counted = counted_functions(tree, meeting, client, provider);
    for (Index i : counted) redirected = any_of(redirected, linux_redirects(tree.functions[i]));
    for (Index i : counted) {
      const Tri here = linux_redirects(tree.functions[i]);
      if (here == Tri::no || here != redirected) continue;
      answer.facts.push_back(acs_fact(tree.functions[i]));
      if (here == Tri::yes) redirecting.push_back(i);
    }
    if (redirected == Tri::no)
      answer.facts.push_back(
          {"path", "ACSCtl", fmt::format("{} functions", counted.size()),
           "no function on the way redirects by ACS, so requests turn around below the root complex"});
  }
  Tri allowed = Tri::unknown;
  if (redirected == Tri::yes) {
    HostBridgeVerdict host = explain_host_bridges(tree, tree.nodes[client].host, tree.nodes[provider].host);
    allowed = host.allowed;
    answer.facts.insert(answer.facts.end(), host.facts.begin(), host.facts.end());
  }
  answer.route = linux_route(redirected, allowed);
  if (tree.is_virtual_machine && *tree.is_virtual_machine)
    answer.facts.push_back({"machine", "virtual", "yes",
                            "this topology is the hypervisor's invention; the devices' real places may differ"});
  answer.remedies = find_remedies(tree, {.client = client,
                                         .provider = provider,
                                         .route = answer.route,
                                         .redirected = redirected,
                                         .allowed = allowed,
                                         .redirecting = redirecting});
  return answer;
}

}  // namespace barter::topology
