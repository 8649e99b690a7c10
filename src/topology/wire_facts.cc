// The facts behind the wire rule's answers, in the order in which a TLP meets them.
#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "topology/host_bridges.h"
#include "topology/linux_rule.h"
#include "topology/wire_rule.h"

namespace barter::topology {
namespace {

enum class Direction : std::uint8_t { read, write };

std::string bit_of(std::uint16_t control, std::uint16_t bit) { return (control & bit) != 0 ? "1" : "0"; }

class WireStory {
 public:
  WireStory(const Tree& tree, Index client, Index provider)
      : tree_(tree),
        client_(client),
        provider_(provider),
        meeting_(meet(tree, client, provider)),
        requester_(find_requester(tree, client, meeting_.client_side)) {
    crossing_ = find_crossing(tree, meeting_, root_complex_turns(tree, host_of(client), host_of(provider)));
  }

  WireAnswers tell() {
    const WireRoutes routes = wire_routes(crossing_, requester_);
    return {.read = tell(Direction::read, routes.read), .write = tell(Direction::write, routes.write)};
  }

 private:
  WireAnswer tell(Direction direction, Route route) {
    direction_ = direction;
    facts_.clear();
    tell_place();
    if (client_ != provider_) {
      tell_translation();
      tell_request();
      if (direction == Direction::read) tell_completion();
      if (may_pass_root_complex()) tell_root_complex();
      tell_payload();
      if (route == Route::bus_address) tell_iommu();
    }
    return {.route = route, .facts = std::move(facts_)};
  }

  void add(std::string function, std::string reg, std::string value, std::string says) {
    facts_.push_back({std::move(function), std::move(reg), std::move(value), std::move(says)});
  }
  void add(Index i, std::string reg, std::string value, std::string says) {
    add(bdf(i), std::move(reg), std::move(value), std::move(says));
  }
  [[nodiscard]] std::uint32_t host_of(Index i) const { return tree_.nodes[i].host; }
  [[nodiscard]] std::string bdf(Index i) const { return tree_.functions[i].bdf.to_string(); }

  void tell_place() {
    if (client_ == provider_)
      return add(client_, "upstream bridge", bdf(client_), "the function reaches its own memory without the fabric");
    if (meeting_.common == kNone)
      return add(host_bridge_name(tree_.host_bridges[host_of(client_)]), "upstream bridge", "none",
                 "the ways part in the root complex");
    add(meeting_.common, "upstream bridge", bdf(meeting_.common), "the ways part below this function");
    if (meeting_.client_side == client_ && meeting_.provider_side == provider_ && !is_switch(meeting_.common))
      add(meeting_.common, "device", "one",
          "both are functions of one device; PCIe lets a device pass requests between its functions or not (6.0, "
          "6.12), "
          "and this answer takes it that it does");
  }

  [[nodiscard]] bool is_switch(Index i) const {
    const Known<PortType>& type = tree_.functions[i].port_type;
    return type && *type == PortType::upstream_port;
  }

  void tell_translation() {
    const FunctionInfo& client = tree_.functions[client_];
    if (requester_.translated == Tri::yes)
      add(client_, "ATSCtl.Enable", "1", "its requests carry translated addresses, which ACS treats apart");
    else if (requester_.translated == Tri::unknown && !(crossing_.translated == crossing_.untranslated))
      add(client_, "ATSCtl.Enable", "unknown",
          fmt::format("translated requests fare differently here, and whether it makes them is unknown: {}",
                      client.ats_enabled.why_unknown()));
    if (requester_.translated == Tri::no || requester_.blocked_below == Tri::no) return;
    for (Index at = tree_.nodes[client_].parent; at != meeting_.client_side; at = tree_.nodes[at].parent)
      tell_blocking(at);
  }

  void tell_blocking(Index port) {
    const Tri blocks = blocks_translated(tree_.functions[port]);
    if (blocks == Tri::yes)
      add(port, "ACSCtl.TransBlk", "1", "translated requests from below are blocked here");
    else if (blocks == Tri::unknown)
      tell_unreadable(port, "whether it blocks translated requests is unknown");
  }

  void tell_unreadable(Index port, std::string_view what) {
    add(port, "ACSCtl", "unknown", fmt::format("{}: {}", what, tree_.functions[port].acs.why_unknown()));
  }

  // The client's requests as the wire rule sees them; of two kinds, the untranslated.
  [[nodiscard]] Decisions requests() const {
    return requester_.translated == Tri::yes ? crossing_.translated : crossing_.untranslated;
  }

  void tell_request() {
    if (meeting_.client_side == kNone) return;
    const Index port = meeting_.client_side;
    const FunctionInfo& function = tree_.functions[port];
    if (!function.acs) {
      if (!requests().is(PortDecision::direct) && !requests().is(PortDecision::redirect))
        tell_unreadable(port, "what becomes of requests where the ways part is unknown");
      return;
    }
    if (!*function.acs) {
      if (meeting_.common != kNone) add(port, "ACSCap", "none", "without ACS, requests to a peer go direct");
      return;
    }
    tell_request_controls(port, (*function.acs)->control);
  }

  void tell_request_controls(Index port, std::uint16_t control) {
    const bool translated = requester_.translated == Tri::yes;
    if (requester_.translated != Tri::no && (control & acs_bit::kTranslationBlocking) != 0)
      add(port, "ACSCtl.TransBlk", "1", "translated requests are blocked here, whatever the other controls say");
    if (meeting_.common == kNone && !crossing_.untranslated.has(PortDecision::blocked)) return;
    if (meeting_.provider_side == kNone) return;
    if (translated && (control & acs_bit::kDirectTranslated) != 0)
      return add(port, "ACSCtl.DirectTrans", "1",
                 "translated requests to a peer go direct, whatever the two redirections say");
    if ((control & acs_bit::kEgressControl) != 0) tell_egress(port, control);
    const bool redirects = (control & acs_bit::kRequestRedirect) != 0;
    if (meeting_.common != kNone)
      add(port, "ACSCtl.ReqRedir", bit_of(control, acs_bit::kRequestRedirect),
          redirects ? "requests to a peer go up to the root complex first" : "requests to a peer are not redirected");
  }

  void tell_egress(Index port, std::uint16_t control) {
    const Decisions decisions = requests();
    add(port, "ACSCtl.EgressCtrl", "1",
        fmt::format("the egress control vector decides about requests to {}", bdf(meeting_.provider_side)));
    if (decisions.is(PortDecision::direct))
      add(port, "ACSEgressVector", "0", "the peer's bit is clear, so requests to it go direct");
    else if (decisions.is(PortDecision::blocked))
      add(port, "ACSEgressVector", "1", "the peer's bit is set without Request Redirect: an ACS Violation");
    else if ((control & acs_bit::kRequestRedirect) != 0 && decisions.is(PortDecision::redirect))
      add(port, "ACSEgressVector", "1", "the peer's bit is set, so Request Redirect acts on requests to it");
    else
      add(port, "ACSEgressVector", "unknown", "the peer's bit could not be read");
  }

  void tell_completion() {
    if (meeting_.common == kNone || meeting_.client_side == kNone || meeting_.provider_side == kNone) return;
    const Index port = meeting_.provider_side;
    const FunctionInfo& function = tree_.functions[port];
    if (!function.acs) {
      if (!crossing_.completions.is(PortDecision::direct))
        tell_unreadable(port, "what becomes of the completion where the ways part is unknown");
      return;
    }
    if (!*function.acs) return add(port, "ACSCap", "none", "without ACS, completions to a peer go direct");
    const std::uint16_t control = (*function.acs)->control;
    const bool redirects = (control & acs_bit::kCompletionRedirect) != 0;
    add(port, "ACSCtl.CmpltRedir", bit_of(control, acs_bit::kCompletionRedirect),
        redirects ? "completions go up to the root complex first, unless they carry Relaxed Ordering"
                  : "completions go direct");
  }

  [[nodiscard]] bool may_pass_root_complex() const {
    if (requester_.translated != Tri::no && crossing_.translated.has(PortDecision::redirect)) return true;
    if (requester_.translated != Tri::yes && crossing_.untranslated.has(PortDecision::redirect)) return true;
    return direction_ == Direction::read && crossing_.completions.has(PortDecision::redirect);
  }

  void tell_root_complex() {
    tell_the_way_up();
    const HostBridgeInfo& client = tree_.host_bridges[host_of(client_)];
    const HostBridgeInfo& provider = tree_.host_bridges[host_of(provider_)];
    const bool same = host_of(client_) == host_of(provider_);
    const bool by_client = tell_described(client);
    const bool by_provider = same ? by_client : tell_described(provider);
    if (by_client && by_provider) return;
    tell_evidence();
  }

  void tell_the_way_up() {
    for (Index at = meeting_.common; at != kNone; at = tree_.nodes[at].parent) {
      const Tri forwards = forwards_upstream(tree_.functions[at]);
      if (forwards == Tri::no)
        add(at, "ACSCtl.UpstreamFwd", "0",
            "what is redirected to the root complex comes up here with a target below the same port, and is not "
            "forwarded");
      if (forwards == Tri::unknown && tree_.functions[at].acs)
        add(at, "Device/Port Type", "unknown",
            "whether this is a switch's downstream port, which needs ACSCtl.UpstreamFwd, is unknown");
      else if (forwards == Tri::unknown)
        tell_unreadable(at, "whether it forwards what is redirected is unknown");
      if (requester_.translated != Tri::no) tell_blocking(at);
    }
  }

  bool tell_described(const HostBridgeInfo& host) {
    const Known<bool>& turns = direction_ == Direction::read ? host.turns_reads : host.turns_writes;
    if (!turns) return false;
    const char* what = direction_ == Direction::read ? "reads" : "writes";
    add(host_bridge_name(host), fmt::format("turns_{}", what), *turns ? "true" : "false",
        fmt::format("the machine's description says that the root complex {} peer {} around",
                    *turns ? "turns" : "does not turn", what));
    return true;
  }

  void tell_evidence() {
    HostBridgeVerdict evidence = explain_host_bridges(tree_, host_of(client_), host_of(provider_));
    const bool old_amd = is_amd_before_zen(tree_.cpu);
    const std::string name = host_bridge_name(tree_.host_bridges[host_of(provider_)]);
    if (evidence.allowed == Tri::yes)
      add(name, "peer routing", "tested",
          "no register tells whether a root complex turns peer requests around (PCIe 6.0, 1.3.1); Linux allows this "
          "one "
          "because it was seen to work");
    else if (old_amd)
      add("cpu", "vendor:family", fmt::format("{}:{}", tree_.cpu->vendor, tree_.cpu->family),
          "AMD's root complexes before Zen (family 23) turn peer writes around and no reads");
    else
      add(name, "peer routing", "unknown",
          "PCIe leaves it to the root complex whether it turns peer requests around (6.0, 1.3.1), and no register "
          "tells");
    facts_.insert(facts_.end(), evidence.facts.begin(), evidence.facts.end());
  }

  // A TLP with more payload than a receiver's Max_Payload_Size is malformed (PCIe 6.0, 2.2.2). Writes carry the client's
  // payload, completions the provider's.
  void tell_payload() {
    const Index sender = direction_ == Direction::read ? provider_ : client_;
    const Known<std::uint32_t>& sent = tree_.functions[sender].max_payload_bytes;
    if (!sent) return;
    for (Index i : shortest_path(tree_, client_, provider_)) {
      const Known<std::uint32_t>& taken = tree_.functions[i].max_payload_bytes;
      if (i == sender || !taken || *taken >= *sent) continue;
      add(i, "DevCtl.MaxPayload", fmt::to_string(*taken),
          fmt::format("{} may send {} bytes in one {}, and this function takes more than {} for malformed", bdf(sender),
                      *sent, direction_ == Direction::read ? "completion" : "write", *taken));
    }
  }

  void tell_iommu() {
    if (!tree_.iommu || *tree_.iommu != IommuMode::translate || requester_.translated == Tri::yes) return;
    add("iommu", "mode", "translate",
        "the request must carry the provider's bus address, as Linux maps it on this route; an address for the IOMMU "
        "to "
        "translate goes up to the root complex");
  }

  const Tree& tree_;
  Index client_;
  Index provider_;
  Meeting meeting_;
  Requester requester_;
  Crossing crossing_;
  Direction direction_ = Direction::read;
  std::vector<Fact> facts_;
};

}  // namespace

WireAnswers wire_answers(const Tree& tree, Index client, Index provider) {
  return WireStory(tree, client, provider).tell();
}

}  // namespace barter::topology
