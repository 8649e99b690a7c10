// The machine's counters are sums over what each requester has counted on its routes.
#include <mutex>

#include "fabric/system.h"

namespace barter::fabric {
namespace {

void add_payload(Counters& sum, const Route& route, std::uint64_t bytes) {
  const bool is_read = route.access == Access::read;
  switch (route.traffic) {
    case Traffic::host_data:
      (is_read ? sum.host_data_read_bytes : sum.host_data_written_bytes) += bytes;
      return;
    case Traffic::host_control:
      (is_read ? sum.host_control_read_bytes : sum.host_control_written_bytes) += bytes;
      return;
    case Traffic::peer:
      (is_read ? sum.peer_read_bytes : sum.peer_written_bytes) += bytes;
      return;
    case Traffic::interrupt:
      return;  // seen on the links only
  }
}

}  // namespace

Counters System::counters() {
  const std::lock_guard lock(mutex);
  Counters sum{.redirected_requests = refusals.redirected,
               .blocked_requests = refusals.blocked,
               .iommu_faults = refusals.iommu_faults,
               .unsupported_requests = refusals.unsupported,
               .translation_requests = ats_traffic.translation_requests,
               .invalidate_requests = ats_traffic.invalidate_requests,
               .ignored_invalidations = ats_traffic.ignored_invalidations};
  std::vector<LinkCounters> by_port(nodes.size());
  for (const FunctionRequester* requester : requesters) {
    requester->add_injected(sum);
    requester->for_each_route([&](const Route& route) {
      const std::uint64_t bytes = route.bytes.load(std::memory_order_relaxed);
      add_payload(sum, route, bytes);
      sum.redirected_requests += route.redirects * route.requests.load(std::memory_order_relaxed);
      for (const Crossing& crossing : route.crossings)
        (crossing.upstream ? by_port[crossing.port].upstream_bytes : by_port[crossing.port].downstream_bytes) += bytes;
    });
  }
  for (const auto& node : nodes) {
    // What the CPU stores goes down to the function, what it loads comes up from it.
    for (const Node* port = node->parent; port != nullptr; port = port->parent) {
      by_port[port->index].downstream_bytes += node->cpu_written_bytes.load(std::memory_order_relaxed);
      by_port[port->index].upstream_bytes += node->cpu_read_bytes.load(std::memory_order_relaxed);
    }
  }
  for (const auto& node : nodes) {
    if (!node->has_link_below()) continue;
    LinkCounters& link = by_port[node->index];
    link.port = node->name;
    sum.links.push_back(std::move(link));
  }
  return sum;
}

}  // namespace barter::fabric
