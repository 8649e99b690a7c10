// Machines for the tests of this room: trees of topology/test_trees.h, whose endpoints become devices by their names, and a
// system around them of which everything is known and well.
#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "barter/doctor.hpp"
#include "topology/test_trees.h"

namespace barter::doctor::test {

using topology::test::downstream;
using topology::test::endpoint;
using topology::test::kCr;
using topology::test::kEc;
using topology::test::kRr;
using topology::test::kUf;
using topology::test::Plug;
using topology::test::port;
using topology::test::root_port;
using topology::test::upstream;

inline BarInfo bar(std::uint8_t index, std::uint64_t bytes) {
  return {.index = index,
          .is_64bit = true,
          .is_prefetchable = true,
          .address = BusAddress{std::uint64_t{0x80} << 32},
          .size_bytes = bytes};
}

inline ControllerMemoryInfo usable_buffer(std::uint64_t bytes = std::uint64_t{64} << 20) {
  return {
      .bar = 2, .size_bytes = bytes, .submission_queues = true, .lists = true, .read_data = true, .write_data = true};
}

// nvme...: a drive with a buffer; gpu...: an accelerator; nic...: a network card.
inline void dress(FunctionInfo& function) {
  const std::string_view name = function.name;
  function.numa_node = std::int32_t{0};
  function.link_now = LinkState{16000, 4};
  function.max_payload_bytes = std::uint32_t{256};
  function.controller_memory = std::optional<ControllerMemoryInfo>{};
  function.class_code = std::uint32_t{function.is_bridge() ? 0x060400u : 0x088000u};
  if (name.starts_with("nvme")) {
    function.class_code = std::uint32_t{0x010802};
    function.bars = {bar(0, 16384), bar(2, std::uint64_t{64} << 20)};
    function.controller_memory = std::optional(usable_buffer());
  } else if (name.starts_with("gpu")) {
    function.vendor_id = std::uint16_t{0x10de};
    function.class_code = std::uint32_t{0x030200};
    function.bars = {bar(0, std::uint64_t{16} << 20), bar(1, std::uint64_t{64} << 30)};
  } else if (name.starts_with("nic")) {
    function.class_code = std::uint32_t{0x020000};
    function.bars = {bar(0, std::uint64_t{32} << 20)};
  }
}

inline TopologyParts machine_of(const std::vector<Plug>& plugs) {
  TopologyParts parts = topology::test::machine(plugs);
  for (FunctionInfo& function : parts.functions) dress(function);
  return parts;
}

inline FunctionInfo& named(TopologyParts& parts, std::string_view name) {
  return *std::find_if(parts.functions.begin(), parts.functions.end(),
                       [name](const FunctionInfo& function) { return function.name == name; });
}

// Two devices below one switch.
inline TopologyParts switch_with(std::string left, std::string right, std::uint16_t acs = 0) {
  return machine_of({root_port("rp", {upstream("usp", {downstream("dsp0", {endpoint(std::move(left))}, acs),
                                                       downstream("dsp1", {endpoint(std::move(right))}, acs)})})});
}
// Two devices below a root port each; the host bridge that the kernel looks at is the first of them.
inline TopologyParts root_ports_with(std::string left, std::string right) {
  return machine_of({root_port("rp0", {endpoint(std::move(left))}), root_port("rp1", {endpoint(std::move(right))})});
}

inline SystemFacts good_system() {
  SystemFacts facts{.root = "/",
                    .kernel_release = std::string("7.2.1-amd64"),
                    .command_line = std::string("root=/dev/sda1 ro"),
                    .nvme_multipath = false,
                    .queues_in_cmb = false,
                    .has_vfio = true,
                    .has_iommufd = true,
                    .numa_distances = std::vector<NumaDistance>{{0, 0, 10}, {0, 1, 21}, {1, 0, 21}, {1, 1, 10}},
                    .may_administer = true,
                    .may_lock_memory = true,
                    .memlock_bytes = std::optional<std::uint64_t>{}};
  for (const char* name : {"CONFIG_PCI_P2PDMA", "CONFIG_ZONE_DEVICE", "CONFIG_IO_URING", "CONFIG_VFIO_PCI",
                           "CONFIG_VFIO_PCI_DMABUF", "CONFIG_IOMMUFD"})
    facts.options.push_back({.name = name, .state = OptionState::yes, .source = "/boot/config-7.2.1-amd64"});
  return facts;
}

inline std::vector<Finding> findings_of(const TopologyParts& parts, const SystemFacts& system = good_system()) {
  const auto topology = Topology::build(parts);
  if (!topology) return {};
  return examine(*topology, system);
}

inline std::optional<Finding> find(const std::vector<Finding>& findings, std::string_view code,
                                   std::string_view fact = {}) {
  const auto at = std::find_if(findings.begin(), findings.end(), [&](const Finding& finding) {
    return finding.code == code && finding.fact.find(fact) != std::string::npos;
  });
  if (at == findings.end()) return std::nullopt;
  return *at;
}

}  // namespace barter::doctor::test
