// Links that came up with less than they could, and payload sizes that don't fit together.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "doctor/checks.h"

namespace barter::doctor {
namespace {

std::string link_text(LinkState link) {
  if (link.width == 0) return "down";
  return fmt::format("{} GT/s x{}", link.speed_mtps / 1000.0, link.width);
}

bool is_below(LinkState now, LinkState best) { return now.speed_mtps < best.speed_mtps || now.width < best.width; }

LinkState lesser(LinkState a, LinkState b) {
  return {.speed_mtps = std::min(a.speed_mtps, b.speed_mtps), .width = std::min(a.width, b.width)};
}

// The link above a function: its own end and the port's.
void check_link(const Case& the_case, const FunctionInfo& function, const FunctionInfo* port, Findings& findings) {
  if (!function.link_now || !function.link_max || function.link_now->width == 0) return;
  const LinkState now = *function.link_now;
  const bool port_known = port != nullptr && port->link_max && port->link_max->width != 0;
  const LinkState both = port_known ? lesser(*function.link_max, *port->link_max) : *function.link_max;
  if (!is_below(now, *function.link_max)) return;
  Finding finding{.code = "link",
                  .subject = function.bdf.to_string(),
                  .fact = fmt::format("{} runs at {} now, and can do {}", called(function), link_text(now),
                                      link_text(*function.link_max)),
                  .source = the_case.register_source(function, "Link Status and Link Capabilities")};
  if (port_known)
    finding.fact +=
        fmt::format("; the port above it, {}, can do {}", port->bdf.to_string(), link_text(*port->link_max));
  if (is_below(now, both)) {
    finding.severity = Severity::warning;
    finding.meaning =
        "both ends could do more. Devices lower the speed while they idle: look again under load before you "
        "believe it. A lower width stays, and is a bad contact, a riser, or a slot that the BIOS has split";
    finding.remedies = {{fmt::format("sudo lspci -vv -s {} | grep LnkSta", function.bdf.to_string()),
                         "while the device is busy: tells whether it idled", "nothing"}};
    if (port != nullptr)
      finding.remedies.push_back({fmt::format("sudo setpci -s {} CAP_EXP+10.w=0020:0020", port->bdf.to_string()),
                                  "trains the link anew",
                                  "what is in flight on it is delayed, and some devices fall off"});
    finding.remedies.push_back({"reseat the card, or BIOS: the slot's link speed and bifurcation",
                                "cures bad contacts and split slots", "the machine is off meanwhile"});
  } else {
    finding.severity = Severity::info;
    finding.meaning = "the slot can do no more than this; the card could in a better one";
    finding.remedies = {
        {"move the card to a slot with more lanes or a newer generation", "lets it run at its best", "hardware"}};
  }
  findings.push_back(std::move(finding));
}

// Payloads of all functions on the ways of the devices, by size.
using Payloads = std::map<std::uint32_t, std::vector<std::string>>;

Payloads payloads_of(const Case& the_case, std::set<const FunctionInfo*>& seen) {
  Payloads payloads;
  for (const Device& device : the_case.devices)
    for (const FunctionInfo* function : device.chain)
      if (function->max_payload_bytes && seen.insert(function).second)
        payloads[*function->max_payload_bytes].push_back(called(*function));
  return payloads;
}

// What passes on the way of a pair, both functions included.
std::uint32_t least_payload(const Pair& pair) {
  std::uint32_t least = ~std::uint32_t{0};
  const auto look_at = [&least](const FunctionInfo* function) {
    if (function->max_payload_bytes) least = std::min(least, *function->max_payload_bytes);
  };
  if (!pair.counted.empty()) {
    std::ranges::for_each(pair.counted, look_at);
  } else {
    std::ranges::for_each(pair.client->chain, look_at);
    std::ranges::for_each(pair.provider->chain, look_at);
  }
  return least;
}

}  // namespace

void check_links(const Case& the_case, Findings& findings) {
  std::set<const FunctionInfo*> seen;
  for (const Device& device : the_case.devices)
    for (std::size_t i = 0; i < device.chain.size(); ++i) {
      const FunctionInfo& function = *device.chain[i];
      // A link is looked at from its lower end: endpoints and upstream ports. Functions of one device share it.
      const bool is_lower_end =
          !function.is_bridge() || (function.port_type && *function.port_type == PortType::upstream_port);
      if (!is_lower_end || function.bdf.function != 0 || !seen.insert(&function).second) continue;
      check_link(the_case, function, i + 1 < device.chain.size() ? device.chain[i + 1] : nullptr, findings);
    }
}

void check_payload(const Case& the_case, Findings& findings) {
  std::size_t mismatched = 0;
  const Pair* example = nullptr;
  for (const Pair& pair : the_case.pairs) {
    const auto& sent = pair.client->function->max_payload_bytes;
    if (!sent || least_payload(pair) >= *sent) continue;
    ++mismatched;
    if (example == nullptr) example = &pair;
  }
  if (example == nullptr) return;
  std::set<const FunctionInfo*> seen;
  const Payloads payloads = payloads_of(the_case, seen);
  Finding finding{.severity = Severity::warning,
                  .code = "max_payload",
                  .subject = "machine",
                  .source = fmt::format("Device Control, Max_Payload_Size, by {}", the_case.topology.source())};
  for (const auto& [bytes, names] : payloads)
    finding.fact += fmt::format("{}MaxPayload {}: {}", finding.fact.empty() ? "" : "; ", bytes, list_of(names));
  finding.meaning = fmt::format(
      "in {}, such as {} to {}, the sender may put more into one packet than a function on the way takes: switches and "
      "devices drop "
      "such a packet as malformed. A root complex may cut it",
      count_of(mismatched, "pair"), called(*example->client->function), called(*example->provider->function));
  finding.remedies = {
      {"pci=pcie_bus_peer2peer",
       "on the kernel's command line, sets 128 bytes everywhere, so that any two devices can talk",
       "smaller packets: up to a tenth of the bandwidth of every device"},
      {"pci=pcie_bus_safe", "on the kernel's command line, sets the largest size that all below one root port take",
       "nothing, but pairs below different root ports may still differ"}};
  findings.push_back(std::move(finding));
}

}  // namespace barter::doctor
