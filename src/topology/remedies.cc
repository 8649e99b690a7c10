#include "topology/remedies.h"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "topology/host_bridges.h"
#include "topology/linux_rule.h"

namespace barter::topology {
namespace {

// What all ways of clearing ACS redirection cost.
constexpr const char* kIsolationCost =
    "devices below these ports reach each other's memory unchecked by the IOMMU, and their IOMMU groups merge, so that "
    "they can only be handed to one virtual machine or user-space driver together";

// A list of functions for a person; beyond a few it says how many more.
std::string names_of(const Tree& tree, const std::vector<Index>& functions) {
  constexpr std::size_t kShown = 8;
  std::string text;
  for (std::size_t i = 0; i < functions.size() && i < kShown; ++i)
    text += (i == 0 ? "" : ", ") + tree.functions[functions[i]].bdf.to_string();
  if (functions.size() > kShown) text += fmt::format(" and {} more", functions.size() - kShown);
  return text;
}

class RemedyFinder {
 public:
  RemedyFinder(const Tree& tree, const LinuxCase& answer) : tree_(tree), case_(answer) {}

  std::vector<Remedy> find() {
    if (case_.route == Route::bus_address) return {};
    if (case_.redirected == Tri::unknown) read_as_root();
    if (!case_.redirecting.empty()) stop_redirection();
    if (case_.redirected == Tri::yes && case_.redirecting.empty()) move_below_one_switch();
    if (case_.redirected == Tri::yes && case_.allowed != Tri::yes) find_another_host_bridge();
    return std::move(remedies_);
  }

 private:
  void add(std::string command, std::string effect, std::string cost) {
    remedies_.push_back({std::move(command), std::move(effect), std::move(cost)});
  }

  void read_as_root() {
    add("sudo lspci -vvv",
        "shows the ACS registers, which are readable only as root; hwloc files and dumps of 64 bytes never have them",
        "nothing");
  }

  void stop_redirection() {
    std::vector<const FunctionInfo*> functions;
    functions.reserve(case_.redirecting.size());
    for (Index i : case_.redirecting) functions.push_back(&tree_.functions[i]);
    for (Remedy& remedy : topology::clear_redirection(functions)) remedies_.push_back(std::move(remedy));
  }

  // The switch that the function is below, nearest first: its upstream port.
  [[nodiscard]] Index switch_above(Index i) const {
    for (Index at = tree_.nodes[i].parent; at != kNone; at = tree_.nodes[at].parent) {
      const Known<PortType>& type = tree_.functions[at].port_type;
      if (type && *type == PortType::upstream_port) return at;
    }
    return kNone;
  }

  void move_below_one_switch() {
    const bool by_provider = advise_move(case_.client, case_.provider);
    const bool by_client = advise_move(case_.provider, case_.client);
    if (by_provider || by_client) return;
    add(fmt::format("move {} and {} below one PCIe switch", bdf(case_.client), bdf(case_.provider)),
        "requests then turn around in the switch and need no host bridge; this machine shows no switch above either of "
        "them",
        "hardware");
  }

  bool advise_move(Index moved, Index stays) {
    const Index upstream = switch_above(stays);
    if (upstream == kNone) return false;
    std::vector<Index> empty;
    for (Index port : tree_.children_of(upstream))
      if (tree_.functions[port].is_bridge() && tree_.children_of(port).empty()) empty.push_back(port);
    add(fmt::format("move {} to a slot below the switch {}", bdf(moved), bdf(upstream)),
        fmt::format("requests to and from {} then turn around in the switch{}", bdf(stays),
                    empty.empty() ? "; none of its ports shows as empty"
                                  : fmt::format("; ports with nothing behind them: {}", names_of(tree_, empty))),
        "hardware; the devices below one switch share its link to the host");
    return true;
  }

  void find_another_host_bridge() {
    if (!tree_.cpu)
      add("barter why ... --cpu VENDOR:FAMILY",
          "tells the CPU that this source doesn't: AuthenticAMD:23 or higher is allowed whatever the host bridge",
          "nothing");
    if (!host_bridge_is_known(case_.client) || !host_bridge_is_known(case_.provider))
      add("sudo lspci -nnvvv", "tells the numbers of the host bridge's function, which Linux looks up in its list",
          "nothing");
    if (host(case_.client) != host(case_.provider) && one_side_would_do())
      add(fmt::format("move {} or {} to a slot of the other's socket or root bus", bdf(case_.client),
                      bdf(case_.provider)),
          "Linux allows this host bridge for functions below the same one", "hardware");
    if (case_.allowed == Tri::no)
      add("another machine",
          "Linux allows host bridges on its list of tested ones (Intel Xeon from Sandy Bridge on within one socket, "
          "from "
          "Skylake-SP on across host bridges, among others) and all AMD CPUs from Zen (family 23) on",
          "hardware");
  }

  [[nodiscard]] bool host_bridge_is_known(Index i) const {
    const Index first = tree_.first_on_root_bus[host(i)];
    return first == kNone || (tree_.functions[first].vendor_id && tree_.functions[first].device_id);
  }

  [[nodiscard]] bool one_side_would_do() const {
    return host_bridges_allow(tree_, host(case_.client), host(case_.client)) == Tri::yes ||
           host_bridges_allow(tree_, host(case_.provider), host(case_.provider)) == Tri::yes;
  }

  [[nodiscard]] std::uint32_t host(Index i) const { return tree_.nodes[i].host; }
  [[nodiscard]] std::string bdf(Index i) const { return tree_.functions[i].bdf.to_string(); }

  const Tree& tree_;
  const LinuxCase& case_;
  std::vector<Remedy> remedies_;
};

Remedy set_pci(const FunctionInfo& function) {
  const unsigned bits = (*function.acs)->control & kLinuxRedirectBits;
  // VALUE:MASK, so that the other bits stay as they are.
  return {
      fmt::format("setpci -s {} ECAP_ACS+6.w=0000:{:04x}", function.bdf.to_string(), bits),
      "clears the redirecting bits until the next reset or boot; drivers that have already mapped for this pair keep "
      "the old answer until they are bound anew",
      kIsolationCost};
}

Remedy disable_on_command_line(std::span<const FunctionInfo* const> functions) {
  std::string list;
  for (const FunctionInfo* function : functions) list += (list.empty() ? "" : ";") + function->bdf.to_string();
  return {"pci=disable_acs_redir=" + list,
          "on the kernel's command line, clears the redirecting bits at every boot; Source Validation and Upstream "
          "Forwarding "
          "stay as the firmware set them, too",
          kIsolationCost};
}

}  // namespace

std::vector<Remedy> clear_redirection(std::span<const FunctionInfo* const> functions) {
  std::vector<Remedy> remedies;
  for (const FunctionInfo* function : functions) remedies.push_back(set_pci(*function));
  remedies.push_back(disable_on_command_line(functions));
  remedies.push_back(
      {"intel_iommu=off amd_iommu=off",
       "on the kernel's command line, leaves ACS as the firmware set it: it is for the IOMMU that Linux turns "
       "redirection on, "
       "with iommu=pt as well, so iommu=pt is not enough. If the firmware itself sets redirection, this changes "
       "nothing",
       "no IOMMU: every device reaches all of memory, no VFIO with isolation, no interrupt remapping"});
  remedies.push_back({"BIOS: ACS Control (often below PCIe or Northbridge settings), disabled",
                      "on some boards ports then have no ACS for Linux to turn on", kIsolationCost});
  return remedies;
}

std::vector<Remedy> find_remedies(const Tree& tree, const LinuxCase& answer) {
  return RemedyFinder(tree, answer).find();
}

}  // namespace barter::topology
