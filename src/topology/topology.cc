#include "barter/topology.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "topology/graph.h"
#include "topology/linux_rule.h"
#include "topology/matrix.h"
#include "topology/near_names.h"
#include "topology/wire_rule.h"

namespace barter {

using topology::Index;
using topology::kNone;

struct Topology::Graph : topology::Tree {};

bool FunctionInfo::has_memory_bar() const {
  return std::any_of(bars.begin(), bars.end(), [](const BarInfo& bar) { return bar.kind == BarInfo::Kind::memory; });
}

Topology::Topology(std::shared_ptr<const Graph> graph) : graph_(std::move(graph)) {}

Result<Topology> Topology::build(TopologyParts parts) {
  Result<topology::Tree> tree = topology::grow(std::move(parts));
  if (!tree) return fail(tree.error());
  return Topology(std::make_shared<const Graph>(Graph{std::move(*tree)}));
}

const std::string& Topology::source() const { return graph_->source; }
std::span<const FunctionInfo> Topology::functions() const { return graph_->functions; }
std::span<const HostBridgeInfo> Topology::host_bridges() const { return graph_->host_bridges; }
std::span<const DeviceLinkInfo> Topology::device_links() const { return graph_->device_links; }
const Known<CpuInfo>& Topology::cpu() const { return graph_->cpu; }
const Known<IommuMode>& Topology::iommu() const { return graph_->iommu; }
const Known<bool>& Topology::is_virtual_machine() const { return graph_->is_virtual_machine; }

const FunctionInfo* Topology::find(Bdf bdf) const {
  const Index index = graph_->find(bdf);
  return index == kNone ? nullptr : &graph_->functions[index];
}

const FunctionInfo* Topology::find(std::string_view name) const {
  if (name.empty()) return nullptr;
  const auto at = std::find_if(graph_->functions.begin(), graph_->functions.end(),
                               [name](const FunctionInfo& function) { return function.name == name; });
  return at == graph_->functions.end() ? nullptr : &*at;
}

Result<Bdf> Topology::resolve(std::string_view name_or_bdf) const {
  if (const FunctionInfo* named = find(name_or_bdf)) {
    const auto same = [&](const FunctionInfo& function) { return function.name == name_or_bdf; };
    if (std::count_if(graph_->functions.begin(), graph_->functions.end(), same) == 1) return named->bdf;
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "looking for the function",
                 .subject = fmt::format("'{}'", name_or_bdf),
                 .where = "in " + graph_->source,
                 .why = "several functions have this name",
                 .cure = fmt::format("name it by its number, such as {}", named->bdf.to_string())});
  }
  const Result<Bdf> bdf = Bdf::parse(name_or_bdf);
  if (bdf && graph_->find(*bdf) != kNone) return *bdf;
  const std::vector<std::string> near = topology::near_names(*graph_, name_or_bdf, bdf ? &*bdf : nullptr);
  return fail({.code = ErrorCode::not_found,
               .doing = "looking for the function",
               .subject = fmt::format("'{}'", name_or_bdf),
               .where = "in " + graph_->source,
               .why = bdf ? "there is no function of this number" : "there is no function of this name",
               .cure = near.empty() ? "`barter topo` lists them all"
                                    : fmt::format("did you mean {}?", fmt::join(near, " or "))});
}

std::optional<Bdf> Topology::parent(Bdf bdf) const {
  const Index index = graph_->find(bdf);
  if (index == kNone || graph_->nodes[index].parent == kNone) return std::nullopt;
  return graph_->functions[graph_->nodes[index].parent].bdf;
}

std::vector<Bdf> Topology::children(Bdf bridge) const {
  std::vector<Bdf> children;
  const Index index = graph_->find(bridge);
  if (index == kNone) return children;
  for (Index child : graph_->children_of(index)) children.push_back(graph_->functions[child].bdf);
  return children;
}

Verdict Topology::verdict(VerdictQuery query) const {
  Verdict verdict{.client = query.client, .provider = query.provider};
  const Index client = graph_->find(query.client);
  const Index provider = graph_->find(query.provider);
  for (const auto& [index, bdf] : {std::pair(client, query.client), std::pair(provider, query.provider)}) {
    if (index != kNone) continue;
    const Fact fact{bdf.to_string(), "function", "none", "there is no such function in " + graph_->source};
    for (std::vector<Fact>* facts :
         {&verdict.by_linux.facts, &verdict.by_wire.read.facts, &verdict.by_wire.write.facts})
      facts->push_back(fact);
  }
  if (client == kNone || provider == kNone) return verdict;
  verdict.by_linux = topology::linux_answer(*graph_, client, provider);
  topology::WireAnswers wire = topology::wire_answers(*graph_, client, provider);
  verdict.by_wire.read = std::move(wire.read);
  verdict.by_wire.write = std::move(wire.write);
  for (Index i : topology::request_path(*graph_, client, provider, verdict.by_wire.write.route))
    verdict.path.push_back(graph_->functions[i].bdf);
  return verdict;
}

VerdictMatrix Topology::verdicts() const { return topology::compute_matrix(*graph_); }

Topology Topology::with_cpu(CpuInfo cpu) const {
  auto graph = std::make_shared<Graph>(*graph_);
  graph->cpu = std::move(cpu);
  return Topology(std::move(graph));
}

}  // namespace barter
