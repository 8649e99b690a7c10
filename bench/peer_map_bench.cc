// Mapping and unmapping device memory: what 1 GiB costs, against 4 KiB and against a microsecond, with no IOMMU on the way
// and with the software one; and what exporting and mapping 128 GiB costs.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "barter/units.hpp"
#include "bench.h"
#include "fabric/device.h"
#include "fabric/fabric.h"
#include "peer/exchange.h"
#include "topology/description.h"

namespace {

using namespace barter;
using namespace barter::bench;
using namespace barter::literals;

constexpr std::uint64_t kHuge = 128_GiB;
constexpr std::uint64_t kLarge = 1_GiB;
constexpr std::uint64_t kSmall = 4_KiB;
// Short rounds, and many: one that another process interrupts is then one of many.
constexpr std::size_t kCallsInRound = 4000;
constexpr Rounds kRounds{.rounds = 41, .warm_ups = 2};

// Memory that is only mapped: nothing is behind the addresses, because nothing is moved.
class Memory final : public peer::Exporter {
 public:
  explicit Memory(BusAddress start) : start_(start) {}
  [[nodiscard]] Bdf function() const override { return {.bus = 1}; }
  [[nodiscard]] std::uint64_t size_bytes() const override { return 512_GiB; }
  [[nodiscard]] BusAddress bus_address() const override { return start_; }
  [[nodiscard]] Access hardware_access() const override { return Access::read_write; }
  [[nodiscard]] std::span<std::byte> cpu_bytes(MemoryRange) override { return {}; }
  [[nodiscard]] Answer decide(const Request&) override { return Answer::direct(); }

 private:
  BusAddress start_;
};

class Client final : public peer::Importer {
 public:
  explicit Client(peer::DmaDomain& domain) : domain_(domain) {}
  [[nodiscard]] Bdf function() const override { return {.bus = 2}; }
  [[nodiscard]] peer::DmaDomain& domain() override { return domain_; }
  void invalidate(peer::MappingId) override {}
  [[nodiscard]] Result<void> isolate() override { return {}; }

 private:
  peer::DmaDomain& domain_;
};

template <class T>
T need(Result<T> result) {
  if (!result) throw Broken(result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// One exporter, one importer, two regions.
class Bench {
 public:
  Bench(peer::DmaDomain& domain, BusAddress memory, Route route)
      : memory_(memory),
        client_(domain),
        exchange_(clock_, [route](Bdf, Bdf) { return peer::RouteAnswer{.read = route, .write = route}; }) {
    need(exchange_.add(memory_));
    need(exchange_.add(client_));
    small_.emplace(need(exchange_.allocate(memory_, kSmall)));
    large_.emplace(need(exchange_.allocate(memory_, kLarge)));
  }
  [[nodiscard]] double large() { return time(*large_); }
  [[nodiscard]] double small() { return time(*small_); }
  [[nodiscard]] double export_and_map(std::uint64_t bytes) {
    return processor_nanoseconds_per(kCallsInRound, [&] {
      const Region region = need(exchange_.allocate(memory_, bytes));
      auto mapping = exchange_.try_map(client_, region);
      if (!mapping) throw Broken(mapping.error().error.message());
      benchmark::DoNotOptimize(mapping->size_bytes());
    });
  }

 private:
  [[nodiscard]] double time(const Region& region) {
    return nanoseconds_per(kCallsInRound, [&] {
      auto mapping = exchange_.try_map(client_, region);
      if (!mapping) throw Broken(mapping.error().error.message());
      benchmark::DoNotOptimize(mapping->size_bytes());
    });
  }

  base::SystemClock clock_;
  Memory memory_;
  Client client_;
  peer::Exchange exchange_;
  std::optional<Region> large_;
  std::optional<Region> small_;
};

std::vector<Row> rows(Bench& bench, const std::string& how) {
  return {row_of(
              {.name = "map+unmap 1 GiB, " + how,
               .peer_name = "4 KiB",
               .unit = "ns",
               .goal = 1.2,
               .direction = Direction::at_most},
              kRounds, [&] { return bench.large(); }, [&] { return bench.small(); }),
          row_against_limit(
              {.name = "map+unmap 1 GiB, " + how + ", limit",
               .peer_name = "1 us",
               .unit = "ns",
               .goal = 1,
               .direction = Direction::at_most},
              kRounds, [&] { return bench.large(); }, 1000),
          row_of(
              {.name = "export, map, unmap, free 128 GiB, " + how,
               .peer_name = "4 KiB",
               .unit = "ns",
               .goal = 1.2,
               .direction = Direction::at_most},
              kRounds, [&] { return bench.export_and_map(kHuge); }, [&] { return bench.export_and_map(kSmall); })};
}

std::vector<Row> without_iommu() {
  peer::NoIommu none;
  Bench bench(none, BusAddress{1_TiB}, Route::bus_address);
  return rows(bench, "no IOMMU");
}

// A function that does nothing: it is there for its IOMMU domain.
class Idle final : public fabric::Device {
 public:
  [[nodiscard]] const fabric::FunctionIdentity& identity() const override { return identity_; }
  void attach(fabric::Requester&) override {}
  [[nodiscard]] std::uint64_t read_register(unsigned, BarOffset, unsigned) override { return 0; }
  void write_register(unsigned, BarOffset, unsigned, std::uint64_t) override {}
  [[nodiscard]] std::vector<fabric::MemoryWindow> windows() override { return {}; }
  bool step() override { return false; }
  void reset() override {}

 private:
  fabric::FunctionIdentity identity_{
      .vendor_id = 0x1b36, .device_id = 5, .class_code = 0x088000, .bars = {{.index = 0, .size_bytes = 4096}}};
};

std::vector<Row> with_iommu() {
  topology::Description machine;
  machine.name = "peer-map-bench";
  machine.iommu = IommuMode::translate;
  machine.root_complexes = {{.name = "rc0", .turns_reads = true, .turns_writes = true}};
  machine.root_ports = {{{.name = "rp0", .vendor_id = 0x1b36, .device_id = 0x000c}, "rc0"}};
  machine.functions = {{.name = "client", .below = "rp0", .vendor_id = 0x1b36, .device_id = 5, .class_code = 0x088000}};
  const auto fabric = need(fabric::Fabric::create(machine, {}));
  need(fabric->plug("client", std::make_unique<Idle>()));
  need(fabric->enumerate());
  Bench bench(fabric->domain(need(fabric->find("client"))), BusAddress{1_TiB}, Route::through_host_bridge);
  return rows(bench, "software IOMMU");
}

const bool registered = register_bench("peer_map", without_iommu) && register_bench("peer_map_iommu", with_iommu);

}  // namespace
