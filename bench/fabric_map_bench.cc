// Device memory costs no per-page bookkeeping: mapping and unmapping 1 GiB of it takes the time of 4 KiB, and no microsecond.
#include <memory>
#include <utility>

#include <benchmark/benchmark.h>

#include "bench.h"
#include "fabric/fabric.h"

namespace {

using namespace barter;
using namespace barter::bench;

constexpr std::uint64_t kSmall = 4096;
constexpr std::uint64_t kBig = std::uint64_t{1} << 30;
constexpr std::size_t kCalls = 20000;

// A root port with a function that has 4 GiB of memory, and another one whose IOMMU domain maps parts of it.
topology::Description machine() {
  topology::Description description;
  description.name = "map-bench";
  description.iommu = IommuMode::translate;
  description.root_complexes = {{.name = "rc0"}};
  for (const char* name : {"rp0", "rp1"})
    description.root_ports.push_back({{.name = name, .vendor_id = 0x1b36, .device_id = 0x000c}, "rc0"});
  description.functions = {
      {.name = "memory", .below = "rp0", .vendor_id = 0x1b36, .device_id = 5, .bars = {{.size_bytes = 4 * kBig}}},
      {.name = "client", .below = "rp1", .vendor_id = 0x1b36, .device_id = 5, .bars = {{.size_bytes = kSmall}}}};
  return description;
}

std::vector<Row> map_cost() {
  auto created = fabric::Fabric::create(machine(), {.host_memory_bytes = 1 << 20});
  if (!created) throw Broken(created.error().message());
  fabric::Fabric& fabric = **created;
  if (auto enumerated = fabric.enumerate(); !enumerated) throw Broken(enumerated.error().message());
  const TopologyParts parts = fabric.topology();
  const Bdf provider = fabric.find("memory").value();
  BusAddress target;
  for (const FunctionInfo& function : parts.functions)
    if (function.bdf == provider) target = function.bars.at(0).address.value_or({});
  peer::DmaDomain& domain = fabric.domain(fabric.find("client").value());
  const auto map_and_unmap = [&](std::uint64_t bytes) {
    return nanoseconds_per(kCalls, [&] {
      auto mapped = domain.map(target, bytes, Access::read_write);
      benchmark::DoNotOptimize(mapped);
      if (mapped) domain.unmap(*mapped, bytes);
    });
  };
  const auto big = [&] { return map_and_unmap(kBig); };
  const auto small = [&] { return map_and_unmap(kSmall); };
  return {row_of({.name = "IOMMU: map and unmap 1 GiB",
                  .peer_name = "the same for 4 KiB",
                  .unit = "ns",
                  .goal = 1.2,
                  .direction = Direction::at_most},
                 {}, big, small),
          row_against_limit({.name = "IOMMU: map and unmap 1 GiB, limit",
                             .peer_name = "1 us",
                             .unit = "ns",
                             .goal = 1.0,
                             .direction = Direction::at_most},
                            {}, big, 1000)};
}

const bool registered = register_bench("iommu-map", map_cost);

}  // namespace
