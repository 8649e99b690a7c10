// Who reaches whom: the routes of all pairs, the ACS bits that send requests up, and the host bridges that have to turn them
// around.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "doctor/checks.h"
#include "doctor/kernel_version.h"
#include "topology/acs_names.h"
#include "topology/linux_rule.h"
#include "topology/remedies.h"
#include "topology/route_order.h"

namespace barter::doctor {
namespace {

bool redirects(const FunctionInfo& function) { return topology::linux_redirects(function) == topology::Tri::yes; }

std::string redirecting_bits(std::uint16_t control) {
  std::string names;
  for (const topology::AcsBitName& name : topology::kAcsBitNames)
    if ((name.bit & topology::kLinuxRedirectBits & control) != 0)
      names += fmt::format("{}{}", names.empty() ? "" : ", ", name.lspci);
  return names;
}

// No pair at all is direct, as far as is known.
bool nothing_is_direct(const Case& the_case) {
  return the_case.pairs_of(Route::bus_address) == 0 && the_case.pairs_of(Route::through_host_bridge) == 0;
}

std::string name_for_command(const FunctionInfo& function) {
  return function.name.empty() ? function.bdf.to_string() : function.name;
}

Remedy ask_why(const Pair& pair) {
  return {fmt::format("barter why {} {}", name_for_command(*pair.client->function),
                      name_for_command(*pair.provider->function)),
          "tells every fact about this pair, and what would change its route", "nothing"};
}

std::string path_text(const Verdict& verdict) {
  std::string text;
  for (const Bdf bdf : verdict.path) text += (text.empty() ? "" : " → ") + bdf.to_string();
  return text;
}

// What one function's redirection decides.
struct Redirection {
  std::size_t pairs = 0;
  const Pair* worst = nullptr;
};

std::map<const FunctionInfo*, Redirection> find_redirections(const Case& the_case) {
  std::map<const FunctionInfo*, Redirection> found;
  for (const Device& device : the_case.devices)
    for (const FunctionInfo* function : device.chain)
      if (redirects(*function)) found.try_emplace(function);
  for (const Pair& pair : the_case.pairs) {
    for (const FunctionInfo* function : pair.counted) {
      if (!redirects(*function)) continue;
      Redirection& redirection = found[function];
      ++redirection.pairs;
      if (redirection.worst == nullptr ||
          topology::badness(pair.by_linux) > topology::badness(redirection.worst->by_linux))
        redirection.worst = &pair;
    }
  }
  return found;
}

std::string meaning_of(const Redirection& redirection) {
  const std::string pairs = count_of(redirection.pairs, "pair");
  const Route worst = redirection.worst->by_linux;
  const std::string up = fmt::format(
      "requests of {} of devices go up to the root complex instead of turning around below this function", pairs);
  if (worst == Route::not_supported)
    return up + ", and Linux doesn't let them pass there: such pairs have no direct way";
  if (worst == Route::through_host_bridge)
    return up + ", which turns them around: direct, but slower, and by links that all devices share";
  return up + "; whether they pass there is not known";
}

Finding acs_finding(const Case& the_case, const FunctionInfo& function, const Redirection& redirection) {
  const AcsInfo& acs = **function.acs;
  Finding finding{
      .severity = Severity::info,
      .code = "acs_redirect",
      .subject = function.bdf.to_string(),
      .fact = fmt::format("{} ACSCtl = 0x{:04x}: {} set", called(function), acs.control, redirecting_bits(acs.control)),
      .source = the_case.register_source(
          function, acs.offset == 0 ? std::string("ACS Control register")
                                    : fmt::format("ACS Control register, offset 0x{:x}", acs.offset + 6))};
  if (redirection.pairs == 0) {
    finding.meaning = "no two devices meet here, so that it changes nothing now";
    return finding;
  }
  const bool blocks = redirection.worst->by_linux == Route::not_supported && nothing_is_direct(the_case);
  finding.severity = blocks ? Severity::blocker : Severity::warning;
  finding.meaning = meaning_of(redirection);
  return finding;
}

// Of the pairs whose requests pass the root complex: what Linux goes by, in one line, and what it says of it.
struct HostFacts {
  std::string facts;
  std::string says;
  friend auto operator<=>(const HostFacts&, const HostFacts&) = default;
};

HostFacts host_facts(const Verdict& verdict) {
  HostFacts text;
  for (const Fact& fact : verdict.by_linux.facts) {
    const bool is_about_host = fact.function == "cpu" || fact.function.starts_with("host bridge");
    if (!is_about_host || fact.reg == "upstream bridge") continue;
    // Every root bus of a socket may have its own bridge of the same kind; one line serves for all.
    const std::string whose = fact.function == "cpu" ? "cpu" : "host bridge";
    const std::string line = fmt::format("{} {} = {}", whose, fact.reg, fact.value);
    if (text.facts.find(line) != std::string::npos) continue;
    text.facts += (text.facts.empty() ? "" : "; ") + line;
    text.says += (text.says.empty() ? "" : "; ") + fact.says;
  }
  return text;
}

struct HostGroup {
  std::size_t pairs = 0;
  const Pair* example = nullptr;
};

bool asks_host_bridge(const Pair& pair) {
  return pair.counted.empty() ||
         std::ranges::any_of(pair.counted, [](const FunctionInfo* function) { return redirects(*function); });
}

// What is to be done about this pair's host bridge. Its ACS, where that is why the host bridge is asked, has a finding of its
// own with its own remedies.
std::vector<Remedy> host_remedies(const Verdict& verdict, const Pair& pair) {
  std::vector<const FunctionInfo*> redirecting;
  for (const FunctionInfo* function : pair.counted)
    if (redirects(*function)) redirecting.push_back(function);
  std::vector<Remedy> about_acs;
  if (!redirecting.empty()) about_acs = topology::clear_redirection(redirecting);
  std::vector<Remedy> remedies;
  for (const Remedy& remedy : verdict.by_linux.remedies)
    if (std::ranges::none_of(about_acs, [&](const Remedy& other) { return other.effect == remedy.effect; }))
      remedies.push_back(remedy);
  return remedies;
}

Finding host_finding(const Case& the_case, Route route, const HostFacts& facts, const HostGroup& group) {
  Finding finding{
      .severity = Severity::info,
      .code = "host_bridge",
      .subject = "host bridge",
      .fact = facts.facts,
      .source = fmt::format("CPUID and the numbers of the first function of each root bus, by {}, against the "
                            "kernel's list pci_p2pdma_whitelist",
                            the_case.topology.source()),
      .meaning = facts.says};
  const std::string pairs = fmt::format("{} of devices", count_of(group.pairs, "pair"));
  const Verdict verdict = the_case.topology.verdict(
      {.client = group.example->client->function->bdf, .provider = group.example->provider->function->bdf});
  if (route == Route::not_supported) {
    finding.severity = nothing_is_direct(the_case) ? Severity::blocker : Severity::warning;
    finding.meaning += fmt::format(
        ". Linux refuses {} that way. PCIe leaves it to a root complex what it does with such requests, and some turn "
        "writes around and lose reads",
        pairs);
    finding.remedies = host_remedies(verdict, *group.example);
    finding.remedies.push_back(ask_why(*group.example));
  } else if (route == Route::through_host_bridge) {
    finding.meaning += fmt::format(
        ". {} go through the root complex: direct, but most turn requests around slower than a switch does; measure it "
        "before "
        "you count on it",
        pairs);
  } else {
    finding.severity = Severity::unknown;
    finding.meaning += fmt::format(". Whether {} pass the root complex is not known", pairs);
    finding.remedies = host_remedies(verdict, *group.example);
  }
  return finding;
}

}  // namespace

void check_routes(const Case& the_case, Findings& findings) {
  if (the_case.pairs.empty()) {
    findings.push_back({.severity = Severity::info,
                        .code = "routes",
                        .subject = "machine",
                        .fact = fmt::format("{} that could take part in a direct transfer: no pair",
                                            count_of(the_case.devices.size(), "device")),
                        .source = the_case.topology.source(),
                        .meaning =
                            "drives, accelerators and network cards take part; a pair needs two of them, one with a "
                            "memory BAR"});
    return;
  }
  const std::size_t bus = the_case.pairs_of(Route::bus_address);
  const std::size_t host = the_case.pairs_of(Route::through_host_bridge);
  const std::size_t none = the_case.pairs_of(Route::not_supported);
  const std::size_t unknown = the_case.pairs_of(Route::unknown);
  Finding finding{
      .severity = Severity::info,
      .code = "routes",
      .subject = "machine",
      .fact = fmt::format("of {} of devices: {} turned around below the root complex, {} through it, {} not "
                          "supported, {} unknown",
                          count_of(the_case.pairs.size(), "ordered pair"), bus, host, none, unknown),
      .source = fmt::format("Linux's rule for each pair, by {}", the_case.topology.source()),
      .meaning =
          "the distance of a pair doesn't tell its route: two drives on one switch and two on two root "
          "ports both have 4"};
  const Route worst = none > 0 ? Route::not_supported : unknown > 0 ? Route::unknown : Route::bus_address;
  if (worst != Route::bus_address) {
    const auto example = std::ranges::find(the_case.pairs, worst, &Pair::by_linux);
    const Verdict verdict = the_case.topology.verdict(
        {.client = example->client->function->bdf, .provider = example->provider->function->bdf});
    finding.severity = worst == Route::unknown     ? Severity::unknown
                       : bus + host + unknown == 0 ? Severity::blocker
                                                   : Severity::warning;
    finding.meaning +=
        fmt::format(". {} such as {}: {}", worst == Route::unknown ? "Not known is one" : "Not supported is one",
                    path_text(verdict), "its facts tell why");
    finding.remedies = {ask_why(*example)};
  }
  findings.push_back(std::move(finding));
}

void check_directions(const Case& the_case, Findings& findings) {
  const VerdictMatrix matrix = the_case.topology.verdicts();
  std::size_t differing = 0;
  const Pair* example = nullptr;
  for (const Pair& pair : the_case.pairs) {
    const PairRoutes routes = matrix.routes({.client = pair.client->index, .provider = pair.provider->index});
    if (routes.by_wire_read() == routes.by_wire_write()) continue;
    ++differing;
    if (example == nullptr) example = &pair;
  }
  if (example == nullptr) return;
  const Verdict verdict = the_case.topology.verdict(
      {.client = example->client->function->bdf, .provider = example->provider->function->bdf});
  findings.push_back(
      {.severity = Severity::warning,
       .code = "directions",
       .subject = "machine",
       .fact = fmt::format("reads and writes go different ways for {}, such as {} to {}: reads {}, writes {}",
                           count_of(differing, "pair"), called(*example->client->function),
                           called(*example->provider->function), name_of(verdict.by_wire.read.route),
                           name_of(verdict.by_wire.write.route)),
       .source = fmt::format("the rules of PCIe for both directions, by {}", the_case.topology.source()),
       .meaning = "a transfer that works one way may fail or be slower the other way",
       .remedies = {ask_why(*example)}});
}

void check_acs(const Case& the_case, Findings& findings) {
  const auto redirections = find_redirections(the_case);
  std::vector<const FunctionInfo*> deciding;
  for (const auto& [function, redirection] : redirections)
    if (redirection.pairs > 0) deciding.push_back(function);
  const auto by_number = [](const FunctionInfo* a, const FunctionInfo* b) { return a->bdf < b->bdf; };
  std::ranges::sort(deciding, by_number);
  std::vector<Remedy> all;
  if (!deciding.empty()) all = topology::clear_redirection(deciding);
  for (std::size_t i = 0; i < deciding.size(); ++i) {
    Finding finding = acs_finding(the_case, *deciding[i], redirections.at(deciding[i]));
    finding.remedies.push_back(all[i]);  // its own command; those for all come after one for each function
    finding.remedies.insert(finding.remedies.end(), all.begin() + static_cast<std::ptrdiff_t>(deciding.size()),
                            all.end());
    findings.push_back(std::move(finding));
  }
  std::vector<const FunctionInfo*> idle;
  for (const auto& [function, redirection] : redirections)
    if (redirection.pairs == 0) idle.push_back(function);
  std::ranges::sort(idle, by_number);
  for (const FunctionInfo* function : idle) findings.push_back(acs_finding(the_case, *function, {}));
}

void check_host_bridges(const Case& the_case, Findings& findings) {
  using Key = std::tuple<int, const HostBridgeInfo*, const HostBridgeInfo*>;
  std::map<Key, HostGroup> by_hosts;
  for (const Pair& pair : the_case.pairs) {
    if (!asks_host_bridge(pair)) continue;
    const auto [low, high] = std::minmax(pair.client->host_bridge, pair.provider->host_bridge);
    HostGroup& group = by_hosts[{topology::badness(pair.by_linux), low, high}];
    ++group.pairs;
    if (group.example == nullptr) group.example = &pair;
  }
  // Hosts of which the same is to be said are said once; the worst first.
  std::map<std::pair<int, HostFacts>, HostGroup> by_facts;
  for (const auto& [key, group] : by_hosts) {
    const Verdict verdict = the_case.topology.verdict(
        {.client = group.example->client->function->bdf, .provider = group.example->provider->function->bdf});
    HostGroup& merged = by_facts[{-std::get<0>(key), host_facts(verdict)}];
    merged.pairs += group.pairs;
    if (merged.example == nullptr) merged.example = group.example;
  }
  for (const auto& [key, group] : by_facts)
    findings.push_back(host_finding(the_case, group.example->by_linux, key.second, group));
}

void check_mapping_bug(const Case& the_case, Findings& findings) {
  if (!the_case.system.has_kernel || !the_case.system.kernel_release) return;
  const auto version = parse_kernel_version(*the_case.system.kernel_release);
  if (!version || *version < kFirstWithMappingBug || kLastWithMappingBug < *version) return;
  const Known<IommuMode>& iommu = the_case.topology.iommu();
  if (the_case.pairs_of(Route::through_host_bridge) == 0 || (iommu && *iommu == IommuMode::translate)) return;
  findings.push_back(
      {.severity = Severity::warning,
       .code = "mapping_bug",
       .subject = "kernel",
       .fact = fmt::format("the kernel is {}, and {} go through the host bridge without an IOMMU's translation",
                           *the_case.system.kernel_release,
                           count_of(the_case.pairs_of(Route::through_host_bridge), "pair")),
       .source = the_case.file("proc/sys/kernel/osrelease"),
       .meaning = "kernels from 6.16 to 7.1 leave the DMA address of such a mapping unset when a driver maps a scatter "
                  "list, as "
                  "RDMA drivers do: their DMA then goes elsewhere. The nvme driver maps otherwise and is not "
                  "concerned. Stable "
                  "kernels from June 2026 on have the cure, which this version's number can't tell",
       .remedies = {
           {"sudo apt install -t trixie-backports linux-image-amd64", "a kernel after 7.1 has the cure", "a reboot"}}});
}

}  // namespace barter::doctor
