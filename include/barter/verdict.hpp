// Verdicts: whether the DMA of one function (the client) reaches the memory of another (the provider), and why.
//
//   barter::Verdict verdict = machine->topology().verdict({.client = nic, .provider = gpu});
//   if (verdict.by_linux.route == barter::Route::not_supported)
//     for (const barter::Fact& fact : verdict.by_linux.facts)
//       fmt::print("{}: {} = {}: {}\n", fact.function, fact.reg, fact.value, fact.says);
//
// Two rules answer, side by side. `by_linux` is what the kernel's p2pdma code decides: it is what an in-kernel driver
// will be allowed to do. `by_wire` is what the hardware does with the request and its completion, by the rules of PCIe;
// reads and writes part ways there, because only a read has a completion that must find its way back. The members are
// not called `linux` and `wire`, because GNU compilers define `linux` as a macro outside strict standard modes.
//
// An answer is `unknown` when a fact that would decide it could not be read; the facts then say which and why. A verdict
// is a value and refers to nothing.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <barter/address.hpp>

namespace barter {

enum class Route : std::uint8_t {
  unknown,              // a deciding fact could not be read
  bus_address,          // turned around at a switch below the root complex (or inside one device)
  through_host_bridge,  // by way of the root complex, but not of host memory
  not_supported,        // no such request may be made, or it would not arrive
  link,                 // by an interconnect beside PCIe; never the answer of the two rules above, which are about PCIe
};
[[nodiscard]] std::string_view name_of(Route route);  // "bus_address"

// One thing that was read somewhere and decided an answer.
struct Fact {
  std::string function;  // whose: a BDF with its domain, or "cpu", "host bridge 0000:00", "iommu"
  std::string reg;       // the register and bit, as the specification or the kernel names it: "ACSCtl.ReqRedir"
  std::string value;     // what was read there: "1", "unknown"
  std::string says;      // what follows from it, in a sentence
};

// Something the user can do to turn the answer, with what it costs.
struct Remedy {
  std::string command;  // as typed, or the option's name in the BIOS: "setpci -s 0000:02:00.0 ECAP_ACS+6.w=0000:002c"
  std::string effect;   // what it changes
  std::string cost;     // what it costs, in isolation above all
};

struct LinuxAnswer {
  Route route = Route::unknown;
  std::optional<std::uint32_t> distance;  // hops, as the kernel's pci_p2pdma_distance counts them; none when unknown
  std::vector<Fact> facts;
  std::vector<Remedy> remedies;
};

struct WireAnswer {
  Route route = Route::unknown;
  std::vector<Fact> facts;
};

struct Verdict {
  Bdf client;
  Bdf provider;
  LinuxAnswer by_linux;
  struct {
    WireAnswer read;   // the client reads from the provider
    WireAnswer write;  // the client writes to the provider
  } by_wire;
  std::vector<Bdf> path;  // every function that a request passes, the client first, the provider last
};

// What an interconnect beside PCIe says of the two: a link from GPU to GPU, for one. None of PCIe's facts bear on it.
struct InterconnectAnswer {
  std::string name;                    // which: "link"
  Route route = Route::not_supported;  // or `link`
  std::vector<Fact> facts;
};

// The way that a mapping would be made by, of all that join the two.
struct RouteChoice {
  std::string by;  // "pcie", or the name of an interconnect; empty: there is none
  Route route = Route::not_supported;
  std::string why;
};

struct VerdictQuery {
  Bdf client;
  Bdf provider;
};

}  // namespace barter
