#include "topology/host_bridges.h"

#include <array>

#include <fmt/format.h>

namespace barter::topology {
namespace {

// pci_p2pdma_whitelist of Linux 7.1 and, where it says so, of the PCI subsystem's tree after it; the vendor IDs and device
// IDs are resolved from include/linux/pci_ids.h and the accelerators' drivers.
constexpr std::array kAllowed = {
    AllowedHostBridge{0x8086, 0x3c00, true, false, "Intel Xeon E5, Core i7"},
    AllowedHostBridge{0x8086, 0x3c01, true, false, "Intel Xeon E5, Core i7"},
    AllowedHostBridge{0x8086, 0x2f00, true, false, "Intel Xeon E7 v3, E5 v3, Core i7"},
    AllowedHostBridge{0x8086, 0x2f01, true, false, "Intel Xeon E7 v3, E5 v3, Core i7"},
    AllowedHostBridge{0x8086, 0x2030, false, false, "Intel Skylake-E"},
    AllowedHostBridge{0x8086, 0x2031, false, false, "Intel Skylake-E"},
    AllowedHostBridge{0x8086, 0x2032, false, false, "Intel Skylake-E"},
    AllowedHostBridge{0x8086, 0x2033, false, false, "Intel Skylake-E"},
    AllowedHostBridge{0x8086, 0x2020, false, false, "Intel Skylake-E"},
    AllowedHostBridge{0x8086, 0x09a2, false, false, "Intel Xeon from Ice Lake on"},
    AllowedHostBridge{0x8086, 0x0b25, false, true, "Intel DSA, Sapphire Rapids"},
    AllowedHostBridge{0x8086, 0x0cfe, false, true, "Intel IAA, Sapphire Rapids"},
    AllowedHostBridge{0x8086, 0x11fb, false, true, "Intel DSA, Granite Rapids D"},
    AllowedHostBridge{0x8086, 0x1212, false, true, "Intel DSA, Diamond Rapids"},
    AllowedHostBridge{0x8086, 0x1216, false, true, "Intel IAA, Diamond Rapids"},
    AllowedHostBridge{0x8086, 0x4940, false, true, "Intel QAT 4xxx"},
    AllowedHostBridge{0x8086, 0x4942, false, true, "Intel QAT 401xx"},
    AllowedHostBridge{0x8086, 0x4944, false, true, "Intel QAT 402xx"},
    AllowedHostBridge{0x8086, 0x4946, false, true, "Intel QAT 420xx"},
    AllowedHostBridge{0x8086, 0x4948, false, true, "Intel QAT 6xxx"},
    AllowedHostBridge{0x1ae0, kAnyDevice, false, false, "Google SoCs"},
    AllowedHostBridge{0x10de, 0x2f95, false, true, "NVIDIA CPUs"},
    AllowedHostBridge{0x10de, 0x2f96, false, true, "NVIDIA CPUs"},
    AllowedHostBridge{0x10de, 0x2f97, false, true, "NVIDIA CPUs"},
    AllowedHostBridge{0x10de, 0x2f98, false, true, "NVIDIA CPUs"},
    AllowedHostBridge{0x1d17, 0x1003, true, true, "Zhaoxin KX-6000"},
    AllowedHostBridge{0x1d17, 0x1005, true, true, "Zhaoxin KH-40000"},
    AllowedHostBridge{0x1d17, 0x1006, true, true, "Zhaoxin KX-6000G"},
    AllowedHostBridge{0x1d17, 0x1007, true, true, "Zhaoxin KX-7000"},
    AllowedHostBridge{0x1d17, 0x1008, false, true, "Zhaoxin KH-50000"},
};

constexpr std::uint32_t kZenFamily = 0x17;

// Collects what may be and why.
class ListQuestion {
 public:
  ListQuestion(const Tree& tree, std::uint32_t host, bool with_facts)
      : tree_(tree), host_(tree.host_bridges[host]), first_(tree.first_on_root_bus[host]), with_facts_(with_facts) {}

  ListAnswer ask() {
    const Tri taken = is_looked_at();
    if (taken == Tri::unknown) answer_.may_be_absent = true;
    if (taken != Tri::no) look_up();
    return std::move(answer_);
  }

 private:
  // Linux takes the first function of the root bus for the host bridge, if it is 00.0 or a root port.
  Tri is_looked_at() {
    if (first_ == kNone && tree_.lists_every_function) {
      answer_.may_be_absent = true;
      if (with_facts_)
        add("first function", "none", "the root bus has no function by which Linux could know the host bridge");
      return Tri::no;
    }
    if (first_ != kNone && first().bdf.device == 0 && first().bdf.function == 0) return Tri::yes;
    if (!tree_.lists_every_function) {
      anything();
      if (with_facts_)
        add("first function", "unknown",
            "this source leaves functions out, perhaps the one that Linux knows the host bridge by");
      return Tri::no;  // there is nothing to look up; what may be is said
    }
    if (!first().port_type) {
      if (with_facts_)
        add("first function", first().bdf.to_string(),
            fmt::format("whether it is a root port is unknown: {}", first().port_type.why_unknown()));
      return Tri::unknown;
    }
    if (*first().port_type == PortType::root_port) return Tri::yes;
    answer_.may_be_absent = true;
    if (with_facts_)
      add("first function", first().bdf.to_string(),
          "Linux knows a host bridge only by function 00.0 of the root bus or by a root port, and this is neither");
    return Tri::no;
  }

  void look_up() {
    if (!first().vendor_id) {
      anything();
      if (with_facts_) add(first().bdf.to_string() + " vendor", "unknown", first().vendor_id.why_unknown());
      return;
    }
    bool vendor_listed = false;
    for (const AllowedHostBridge& entry : kAllowed) {
      if (entry.vendor_id != *first().vendor_id) continue;
      if (entry.device_id == kAnyDevice || (first().device_id && entry.device_id == *first().device_id))
        return found(entry);
      if (first().device_id) continue;
      vendor_listed = true;
      (entry.same_only ? answer_.may_be_allowed_same : answer_.may_be_allowed) = true;
    }
    answer_.may_be_absent = true;
    if (!with_facts_) return;
    if (vendor_listed) return add(first().bdf.to_string() + " device", "unknown", first().device_id.why_unknown());
    add("vendor:device", id_of(first()), "Linux's list of tested host bridges (pci_p2pdma_whitelist) doesn't have it");
  }

  void found(const AllowedHostBridge& entry) {
    (entry.same_only ? answer_.may_be_allowed_same : answer_.may_be_allowed) = true;
    if (!with_facts_) return;
    add("vendor:device", id_of(first()),
        fmt::format("Linux's list of tested host bridges has it ({}){}{}", entry.what,
                    entry.same_only ? ", for functions below the same host bridge only" : "",
                    entry.only_after_7_1 ? ", in kernels after 7.1 only" : ""));
  }

  void anything() { answer_.may_be_absent = answer_.may_be_allowed = answer_.may_be_allowed_same = true; }

  [[nodiscard]] const FunctionInfo& first() const { return tree_.functions[first_]; }

  static std::string id_of(const FunctionInfo& function) {
    if (!function.device_id) return fmt::format("{:04x}:????", *function.vendor_id);
    return fmt::format("{:04x}:{:04x}", *function.vendor_id, *function.device_id);
  }

  void add(std::string reg, std::string value, std::string says) {
    answer_.facts.push_back({host_bridge_name(host_), std::move(reg), std::move(value), std::move(says)});
  }

  const Tree& tree_;
  const HostBridgeInfo& host_;
  Index first_;
  bool with_facts_;
  ListAnswer answer_;
};

Fact cpu_fact(const Known<CpuInfo>& cpu) {
  if (!cpu)
    return {"cpu", "vendor:family", "unknown",
            fmt::format("Linux allows every host bridge of an AMD CPU from Zen on, and this one is unknown: {}",
                        cpu.why_unknown())};
  return {"cpu", "vendor:family", fmt::format("{}:{}", cpu->vendor, cpu->family),
          cpu_allows(cpu) == Tri::yes ? "Linux allows every host bridge of an AMD CPU from Zen (family 23) on"
                                      : "Linux allows every host bridge only for AMD CPUs from Zen (family 23) on"};
}

}  // namespace

std::span<const AllowedHostBridge> allowed_host_bridges() { return kAllowed; }

ListAnswer ask_list(const Tree& tree, std::uint32_t host, bool with_facts) {
  return ListQuestion(tree, host, with_facts).ask();
}

Tri list_allows(const ListAnswer& client, const ListAnswer& provider, bool same_host) {
  bool may_be_yes = false;
  bool may_be_no = false;
  if (same_host) {
    may_be_yes = provider.may_be_allowed || provider.may_be_allowed_same;
    may_be_no = provider.may_be_absent;
  } else {
    may_be_yes = client.may_be_allowed && provider.may_be_allowed;
    may_be_no =
        client.may_be_absent || client.may_be_allowed_same || provider.may_be_absent || provider.may_be_allowed_same;
  }
  if (may_be_yes && may_be_no) return Tri::unknown;
  return may_be_yes ? Tri::yes : Tri::no;
}

Tri cpu_allows(const Known<CpuInfo>& cpu) {
  if (!cpu) return Tri::unknown;
  return cpu->vendor == "AuthenticAMD" && cpu->family >= kZenFamily ? Tri::yes : Tri::no;
}

bool is_amd_before_zen(const Known<CpuInfo>& cpu) {
  return cpu && cpu->vendor == "AuthenticAMD" && cpu->family < kZenFamily;
}

Tri host_bridges_allow(const Known<CpuInfo>& cpu, const ListAnswer& client, const ListAnswer& provider,
                       bool same_host) {
  const Tri by_cpu = cpu_allows(cpu);
  const Tri by_list = list_allows(client, provider, same_host);
  if (by_cpu == Tri::yes || by_list == Tri::yes) return Tri::yes;
  return by_cpu == Tri::no && by_list == Tri::no ? Tri::no : Tri::unknown;
}

Tri host_bridges_allow(const Tree& tree, std::uint32_t client_host, std::uint32_t provider_host) {
  return host_bridges_allow(tree.cpu, ask_list(tree, client_host, false), ask_list(tree, provider_host, false),
                            client_host == provider_host);
}

HostBridgeVerdict explain_host_bridges(const Tree& tree, std::uint32_t client_host, std::uint32_t provider_host) {
  const bool same = client_host == provider_host;
  const Tri cpu = cpu_allows(tree.cpu);
  ListAnswer provider = ask_list(tree, provider_host, true);
  ListAnswer client = same ? provider : ask_list(tree, client_host, true);
  const Tri list = list_allows(client, provider, same);
  HostBridgeVerdict verdict{.allowed = host_bridges_allow(tree.cpu, client, provider, same)};
  if (cpu == Tri::yes || list != Tri::yes) verdict.facts.push_back(cpu_fact(tree.cpu));
  if (cpu != Tri::yes) {
    if (!same) verdict.facts.insert(verdict.facts.end(), client.facts.begin(), client.facts.end());
    verdict.facts.insert(verdict.facts.end(), provider.facts.begin(), provider.facts.end());
  }
  return verdict;
}

std::string host_bridge_name(const HostBridgeInfo& host) {
  return fmt::format("host bridge {:04x}:{:02x}", host.domain, host.root_bus);
}

}  // namespace barter::topology
