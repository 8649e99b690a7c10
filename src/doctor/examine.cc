#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "barter/doctor.hpp"
#include "doctor/checks.h"

namespace barter {
namespace {
namespace fs = std::filesystem;

constexpr std::string_view kSysfs = "sysfs:";

// The folder that stands for / beside a captured sys; none if the capture has nothing but what was in /sys.
std::optional<fs::path> root_beside(const fs::path& sys) {
  const fs::path plain = sys.lexically_normal();
  const fs::path folder = plain.has_filename() ? plain : plain.parent_path();
  if (folder == "/sys") return fs::path("/");
  if (folder.filename() != "sys") return std::nullopt;
  return folder.has_parent_path() ? folder.parent_path() : fs::path(".");
}

// A software machine has devices of its own and no kernel that drives them.
SystemFacts software_system() {
  SystemFacts facts = unknown_system("a software machine has no kernel of its own");
  facts.has_kernel = false;
  return facts;
}

Finding software_finding(const Topology& topology) {
  return {.severity = Severity::info,
          .code = "software_machine",
          .subject = "machine",
          .fact = "this is a software machine",
          .source = topology.source(),
          .meaning =
              "no kernel drives its devices, so that nothing is said of kernels, drivers and permissions; routes by "
              "Linux's "
              "rule are what a kernel would decide on such a machine"};
}

}  // namespace

std::string_view name_of(Severity severity) {
  switch (severity) {
    case Severity::blocker:
      return "blocker";
    case Severity::warning:
      return "warning";
    case Severity::unknown:
      return "unknown";
    case Severity::info:
      return "info";
  }
  return "";
}

std::vector<Finding> examine(const Topology& topology, const SystemFacts& system) {
  const doctor::Case the_case = doctor::make_case(topology, system);
  std::vector<Finding> findings;
  if (!system.has_kernel) findings.push_back(software_finding(topology));
  // In the order of importance among those of one severity.
  for (const auto check : {doctor::check_kernel_release,
                           doctor::check_kernel_options,
                           doctor::check_virtual_machine,
                           doctor::check_routes,
                           doctor::check_acs,
                           doctor::check_host_bridges,
                           doctor::check_iommu,
                           doctor::check_directions,
                           doctor::check_providers,
                           doctor::check_controller_memory,
                           doctor::check_block_layers,
                           doctor::check_bars,
                           doctor::check_mapping_bug,
                           doctor::check_payload,
                           doctor::check_links,
                           doctor::check_numa,
                           doctor::check_privileges,
                           doctor::check_memlock,
                           doctor::check_vfio,
                           doctor::check_switches,
                           doctor::tell_what_is_not_known})
    check(the_case, findings);
  std::vector<Finding> ordered;
  for (const Severity severity : {Severity::blocker, Severity::warning, Severity::unknown, Severity::info})
    for (Finding& finding : findings)
      if (finding.severity == severity) ordered.push_back(std::move(finding));
  return ordered;
}

Result<std::vector<Finding>> examine(const Machine& machine) {
  const Topology& topology = machine.topology();
  const std::string& source = topology.source();
  if (source.starts_with(kSysfs)) {
    const auto root = root_beside(source.substr(kSysfs.size()));
    if (!root) return examine(topology, unknown_system("this copy of sysfs has no proc and boot beside it"));
    const auto system = read_system(*root);
    if (!system) return std::unexpected(system.error());
    return examine(topology, *system);
  }
  if (source.starts_with("lspci:")) return examine(topology, unknown_system("lspci tells of devices only"));
  if (source.starts_with("hwloc:")) return examine(topology, unknown_system("hwloc tells of devices only"));
  return examine(topology, software_system());
}

}  // namespace barter
