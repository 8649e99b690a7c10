// What stands between a machine and direct transfers, and what would change it.
//
//   auto findings = barter::examine(*machine);
//   if (!findings) return barter::print(findings.error());
//   for (const barter::Finding& finding : *findings)
//     fmt::print("{}: {} ({})\n", name_of(finding.severity), finding.fact, finding.source);
//
// The most important come first. Every finding says where its fact was read, and, where something can be done about it,
// what to type and what that costs. What the machine's source does not tell is a finding too: "not known, because".
// Examining reads files and computes; it changes nothing and starts no DMA.
//
// A probe does: it copies a pattern between two drives, both ways, and compares every byte. See below.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <barter/copy.hpp>
#include <barter/machine.hpp>
#include <barter/result.hpp>
#include <barter/system.hpp>
#include <barter/topology.hpp>
#include <barter/units.hpp>
#include <barter/verdict.hpp>

namespace barter {

enum class Severity : std::uint8_t {
  blocker,  // a kind of direct transfer doesn't work at all until this changes
  warning,  // some transfers are not direct, slower, or not allowed to this user
  unknown,  // could not be read, and may be any of the others
  info,     // as it should be, or nothing that can be changed
};
[[nodiscard]] std::string_view name_of(Severity severity);  // "blocker"

struct Finding {
  Severity severity = Severity::info;
  std::string code;     // for programs, stable: "acs_redirect" (docs/json.md lists them)
  std::string subject;  // what it is about: a BDF with its domain, or "kernel", "iommu", "cpu", "machine", "user"
  std::string fact;     // what was read: "0000:02:00.0 ACSCtl = 0x001d: ReqRedir, CmpltRedir are on"
  std::string source;   // where: a register or a file
  std::string meaning;  // what follows from it
  // What changes it, the best first; empty where nothing is to be done.
  std::vector<Remedy> remedies;
};

// What this topology and system would do. Pure: no I/O.
[[nodiscard]] std::vector<Finding> examine(const Topology& topology, const SystemFacts& system);
// The same; the system's facts are read from where the machine's own came from, if that tells them.
[[nodiscard]] Result<std::vector<Finding>> examine(const Machine& machine);

// A probe writes to both extents, and only there. What they held is read before and written back at the end.
struct ProbeOptions {
  std::uint64_t seed = 1;  // of the pattern
  // The probe begins no step after this. A step that is never answered ends when the machine's own patience does.
  Duration deadline = std::chrono::seconds(60);
};

// A copy of the pattern from one drive to the other, through one device's memory.
struct ProbeLeg {
  std::string from;
  std::string to;
  std::optional<std::string> via;  // the device whose memory was named for it; none: the nearest, or none is there
  std::optional<Error> error;      // why there was no copy; the rest is then of no meaning
  CopyReport copy;                 // under the policy `required`: nothing fell back to host memory
  // How each of the two drives reaches that memory, by the rule that the machine goes by.
  std::string route;
  std::optional<std::uint64_t> first_wrong_byte;  // of the extent; none: all right
  std::uint64_t wrong_bytes = 0;
  [[nodiscard]] bool passed() const { return !error && !first_wrong_byte; }
};

struct ProbeReport {
  std::uint64_t bytes = 0;  // of each extent
  std::vector<ProbeLeg> legs;
  std::vector<Error> not_restored;  // why an extent does not hold what it held before; empty: both do
  [[nodiscard]] bool passed() const;
};

// Both extents must have a length, the same, of whole blocks and at most 64 MiB; on one drive they must not overlap. An error:
// nothing was written, or (with ErrorCode::timed_out) the words say what was left behind.
[[nodiscard]] Result<ProbeReport> probe(const Machine& machine, Extent first, Extent second,
                                        const ProbeOptions& options = {});

}  // namespace barter
