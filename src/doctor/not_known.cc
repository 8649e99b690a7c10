// What the machine's source doesn't tell, each reason once: a fact that is missing might be any of the others.
#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "doctor/checks.h"

namespace barter::doctor {
namespace {

class Gatherer {
 public:
  explicit Gatherer(const Case& the_case) : case_(the_case) {}

  void gather() {
    if (case_.system.has_kernel) gather_system();
    gather_machine();
    gather_functions();
  }

  void tell(Findings& findings) const {
    for (const auto& [why, what] : by_reason_) {
      std::string list;
      for (const std::string& item : what) list += (list.empty() ? "" : ", ") + item;
      findings.push_back({.severity = Severity::unknown,
                          .code = "not_known",
                          .subject = "machine",
                          .fact = fmt::format("not known: {}", list),
                          .source = case_.topology.source(),
                          .meaning = fmt::format("because {}", why),
                          .remedies = remedies()});
    }
  }

 private:
  // Nothing helps where all was read that can be read.
  [[nodiscard]] std::vector<Remedy> remedies() const {
    if (!case_.system.has_kernel) return {};
    if (case_.system.root != "/")
      return {{"sudo barter doctor",
               "on that computer, reads what can be read there; a copy of its /sys with /proc and /boot beside it "
               "tells most of "
               "it elsewhere: --machine sysfs:DIR/sys",
               "nothing"}};
    const bool is_privileged = case_.system.may_administer && *case_.system.may_administer;
    if (is_privileged) return {};
    return {{"sudo barter doctor", "reads what only root may", "nothing"}};
  }

  template <class T>
  void add(std::string what, const Known<T>& fact) {
    if (!fact) add_reason(std::move(what), fact.why_unknown());
  }

  void add_reason(std::string what, const std::string& why) {
    auto at = std::ranges::find(by_reason_, why, [](const auto& entry) { return entry.first; });
    if (at == by_reason_.end()) at = by_reason_.insert(by_reason_.end(), {why, {}});
    if (std::ranges::find(at->second, what) == at->second.end()) at->second.push_back(std::move(what));
  }

  void gather_system() {
    const SystemFacts& system = case_.system;
    add("the kernel's version", system.kernel_release);
    if (system.options.empty() && !system.kernel_release) add("the kernel's options", system.kernel_release);
    for (const KernelOption& option : system.options) add(option.name, option.state);
    add("the kernel's command line", system.command_line);
    add("limits of locked memory", system.memlock_bytes);
    add("permissions", system.may_administer);
    add("NUMA distances", system.numa_distances);
    if (system.functions.empty() && !system.kernel_release)
      add("drivers of devices, and memory that the kernel shares", system.kernel_release);
  }

  void gather_machine() {
    add("the CPU", case_.topology.cpu());
    add("the IOMMU's mode", case_.topology.iommu());
    add("whether it is a virtual machine", case_.topology.is_virtual_machine());
  }

  // Facts of functions, with how many of those that matter lack them. The reasons of many may differ by a file's name: the
  // first one is told.
  void gather_functions() {
    std::set<const FunctionInfo*> relevant;
    for (const Device& device : case_.devices) relevant.insert(device.chain.begin(), device.chain.end());
    const auto count = [&](std::string_view what, auto fact_of) {
      std::vector<std::string> names;
      const std::string* why = nullptr;
      std::vector<const FunctionInfo*> in_order(relevant.begin(), relevant.end());
      std::ranges::sort(in_order, [](const FunctionInfo* a, const FunctionInfo* b) { return a->bdf < b->bdf; });
      for (const FunctionInfo* function : in_order) {
        const std::string* reason = fact_of(*function);
        if (reason == nullptr) continue;
        if (why == nullptr) why = reason;
        names.push_back(called(*function));
      }
      if (why != nullptr) add_reason(fmt::format("{} of {}", what, list_of(names)), *why);
    };
    count("ACS", [](const FunctionInfo& function) { return reason_of(function.acs, is_express(function)); });
    count("the link", [](const FunctionInfo& function) {
      return reason_of(function.link_now, is_express(function) && !function.is_bridge() && !is_integrated(function));
    });
    count("MaxPayload",
          [](const FunctionInfo& function) { return reason_of(function.max_payload_bytes, is_express(function)); });
    count("the NUMA node",
          [](const FunctionInfo& function) { return reason_of(function.numa_node, !function.is_bridge()); });
    gather_memory();
  }

  void gather_memory() {
    std::vector<std::string> buffers;
    std::vector<std::string> sizes;
    const std::string* why_buffer = nullptr;
    const std::string* why_size = nullptr;
    for (const Device& device : case_.devices) {
      const FunctionInfo& function = *device.function;
      const FunctionUse* use = case_.system.use_of(function.bdf);
      const bool by_nvme = use != nullptr && use->driver && *use->driver == "nvme";
      if (device.role == Role::drive && !function.controller_memory && !by_nvme) {
        buffers.push_back(called(function));
        why_buffer = &function.controller_memory.why_unknown();
      }
      for (const BarInfo& bar : function.bars)
        if (bar.kind == BarInfo::Kind::memory && !bar.size_bytes) {
          sizes.push_back(fmt::format("BAR {} of {}", bar.index, called(function)));
          why_size = &bar.size_bytes.why_unknown();
        }
    }
    if (why_buffer != nullptr) add_reason(fmt::format("the memory buffer of {}", list_of(buffers)), *why_buffer);
    if (why_size != nullptr) add_reason(fmt::format("the size of {}", list_of(sizes)), *why_size);
    for (const Device& device : case_.devices)
      if (!device.function->bars_read) return add_reason("BARs", "this source does not tell of BARs");
  }

  template <class T>
  static const std::string* reason_of(const Known<T>& fact, bool matters) {
    return matters && !fact ? &fact.why_unknown() : nullptr;
  }
  static bool is_express(const FunctionInfo& function) {
    return !function.port_type || *function.port_type != PortType::conventional;
  }
  static bool is_integrated(const FunctionInfo& function) {
    return function.port_type && *function.port_type == PortType::root_complex_endpoint;
  }

  const Case& case_;
  std::vector<std::pair<std::string, std::vector<std::string>>> by_reason_;  // in the order of finding
};

}  // namespace

void tell_what_is_not_known(const Case& the_case, Findings& findings) {
  Gatherer gatherer(the_case);
  gatherer.gather();
  gatherer.tell(findings);
  if (the_case.not_examined > 0)
    findings.push_back({.severity = Severity::unknown,
                        .code = "not_known",
                        .subject = "machine",
                        .fact = fmt::format("not examined: {} beyond the first {}",
                                            count_of(the_case.not_examined, "device"), kMaxDevices),
                        .source = the_case.topology.source(),
                        .meaning = "every pair is looked at, and there is a limit to how many"});
}

}  // namespace barter::doctor
