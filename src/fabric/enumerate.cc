// What firmware does after power-on: numbers the buses depth first, asks each function how much address space it wants,
// opens the bridges' windows around what lies behind them, and lets memory and bus mastering on. All of it by
// configuration requests, as firmware has nothing else.
#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "fabric/system.h"
#include "pci/bar.h"
#include "pci/bridge_window.h"
#include "pci/capabilities/acs.h"
#include "pci/capabilities/ats.h"
#include "pci/capabilities/express.h"
#include "pci/capability_walk.h"
#include "pci/config_header.h"

namespace barter::fabric {
namespace {

// Address space on the host's side: 32-bit windows lie between what firmware calls top of low memory and the range that
// holds interrupt controllers; 64-bit windows lie above host memory, below the first IOVA.
constexpr std::uint64_t kWindow32Start = 0x80000000;
constexpr std::uint64_t kWindow32End = 0xfec00000;
constexpr std::uint64_t kWindow64Granule = std::uint64_t{1} << 38;
constexpr std::uint64_t kWindow64End = kFirstIova;
// A 64-bit BAR that is not prefetchable belongs below 4 GiB, where there is little room. PCIe 6.0, 7.5.1.2.1 allows it in
// the prefetchable window where the whole way is PCIe, as it is here; big ones go there.
constexpr std::uint64_t kBigBarBytes = std::uint64_t{16} << 20;
constexpr std::uint64_t kGranule = pci::kMemoryWindowGranuleBytes;

enum class Pool : std::uint8_t { low32, high64 };

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

// A function that was found, with what it wants.
struct Found {
  Bdf bdf;
  bool is_bridge = false;
  std::vector<pci::Bar> bars;
  std::vector<Found> behind;
  struct Need {
    std::uint64_t bytes = 0;
    std::uint64_t alignment = kGranule;
  } needs[2];  // of everything behind a bridge, by Pool
};

Pool pool_of(const pci::Bar& bar) {
  return bar.is_64bit && (bar.is_prefetchable || *bar.size_bytes >= kBigBarBytes) ? Pool::high64 : Pool::low32;
}

// One thing that gets an address: a BAR, or the window of a bridge.
struct Item {
  Found* owner = nullptr;
  pci::Bar* bar = nullptr;  // null: the window
  std::uint64_t bytes = 0;
  std::uint64_t alignment = 0;
};

std::vector<Item> items_of(std::vector<Found>& functions, Pool pool) {
  std::vector<Item> items;
  for (Found& function : functions) {
    for (pci::Bar& bar : function.bars)
      if (!bar.is_io && pool_of(bar) == pool) items.push_back({&function, &bar, *bar.size_bytes, *bar.size_bytes});
    const Found::Need& need = function.needs[static_cast<std::size_t>(pool)];
    if (need.bytes != 0) items.push_back({&function, nullptr, need.bytes, need.alignment});
  }
  // The most aligned first: it leaves no gaps. Equal ones in bus order.
  const auto order = [](const Item& item) {
    return std::tuple(~item.alignment, item.owner->bdf, item.bar == nullptr ? 0 : item.bar->index);
  };
  std::sort(items.begin(), items.end(),
            [&](const Item& left, const Item& right) { return order(left) < order(right); });
  return items;
}

void add_up_needs(std::vector<Found>& functions) {
  for (Found& function : functions) {
    if (!function.is_bridge) continue;
    add_up_needs(function.behind);
    for (const Pool pool : {Pool::low32, Pool::high64}) {
      Found::Need& need = function.needs[static_cast<std::size_t>(pool)];
      for (const Item& item : items_of(function.behind, pool)) {
        need.bytes = round_up(need.bytes, item.alignment) + item.bytes;
        need.alignment = std::max(need.alignment, item.alignment);
      }
      need.bytes = round_up(need.bytes, kGranule);
    }
  }
}

class Firmware {
 public:
  explicit Firmware(System& system) : system_(system) {}

  [[nodiscard]] Result<void> run() {
    std::vector<std::vector<Found>> buses;
    for (const auto& root : system_.root_complexes) {
      auto functions = scan(root->domain, root->root_bus, last_bus_of(*root));
      if (!functions) return fail(functions.error());
      add_up_needs(*functions);
      buses.push_back(std::move(*functions));
    }
    std::uint64_t next[2] = {kWindow32Start,
                             round_up(kHostMemoryBase + system_.host_memory->limit_bytes(), kWindow64Granule)};
    const std::uint64_t end[2] = {kWindow32End, kWindow64End};
    for (std::size_t root = 0; root < buses.size(); ++root) {
      for (const Pool pool : {Pool::low32, Pool::high64}) {
        const auto which = static_cast<std::size_t>(pool);
        next[which] = round_up(next[which], kGranule);
        const auto after = place(buses[root], pool, next[which], end[which]);
        if (!after) return fail(after.error());
        next[which] = *after;
      }
    }
    for (std::vector<Found>& functions : buses) enable(functions);
    return {};
  }

 private:
  // A root complex has the buses up to the next one's in its domain.
  [[nodiscard]] unsigned last_bus_of(const RootComplex& root) const {
    unsigned last = 255;
    for (const auto& other : system_.root_complexes)
      if (other->domain == root.domain && other->root_bus > root.root_bus)
        last = std::min(last, unsigned{other->root_bus} - 1);
    return last;
  }

  template <class R>
  [[nodiscard]] R load(Bdf bdf, std::size_t at = 0) {
    return R::from(static_cast<typename R::Word>(
        system_.read_config(bdf, static_cast<std::uint16_t>(R::kOffset + at), sizeof(typename R::Word))));
  }
  template <class R>
  void store(Bdf bdf, R value, std::size_t at = 0) {
    system_.write_config(bdf, static_cast<std::uint16_t>(R::kOffset + at), sizeof(typename R::Word), value.raw);
  }

  [[nodiscard]] Result<std::vector<Found>> scan(std::uint32_t domain, std::uint8_t bus, unsigned last_bus) {
    next_bus_ = bus + 1u;
    return scan_bus(domain, bus, last_bus);
  }

  [[nodiscard]] Result<std::vector<Found>> scan_bus(std::uint32_t domain, std::uint8_t bus, unsigned last_bus) {
    std::vector<Found> functions;
    for (std::uint8_t device = 0; device < 32; ++device) {
      for (std::uint8_t function = 0; function < 8; ++function) {
        const Bdf bdf{domain, bus, device, function};
        if (load<pci::VendorId>(bdf).raw == pci::VendorId::kNone) {
          if (function == 0) break;  // there is no device without a function 0 (PCIe 6.0, 7.5.1.1.9)
          continue;
        }
        const auto header = load<pci::HeaderType>(bdf);
        Found found{.bdf = bdf, .is_bridge = header.get(pci::HeaderType::layout) == pci::HeaderType::kBridge};
        if (found.is_bridge) {
          auto behind = scan_behind(bdf, last_bus);
          if (!behind) return behind;
          found.behind = std::move(*behind);
        }
        found.bars = size_bars(bdf, found.is_bridge ? 2 : 6);
        functions.push_back(std::move(found));
        if (function == 0 && !header.get(pci::HeaderType::multi_function)) break;
      }
    }
    return functions;
  }

  [[nodiscard]] Result<std::vector<Found>> scan_behind(Bdf bdf, unsigned last_bus) {
    namespace bridge = pci::bridge;
    if (next_bus_ > last_bus)
      return fail({.code = ErrorCode::exhausted,
                   .doing = "numbering the buses of the machine " + system_.description.name,
                   .subject = "bridge " + bdf.to_string(),
                   .why = fmt::format("the buses of this root complex end at {:#04x}", last_bus),
                   .cure = "spread the switches over more root complexes or domains"});
    const auto secondary = static_cast<std::uint8_t>(next_bus_++);
    store(bdf, bridge::PrimaryBus::from(bdf.bus));
    store(bdf, bridge::SecondaryBus::from(secondary));
    store(bdf, bridge::SubordinateBus::from(static_cast<std::uint8_t>(last_bus)));  // while we look behind it
    auto behind = scan_bus(bdf.domain, secondary, last_bus);
    store(bdf, bridge::SubordinateBus::from(static_cast<std::uint8_t>(next_bus_ - 1)));
    return behind;
  }

  // Writes all ones and looks which bits stick (PCIe 6.0, 7.5.1.2.1).
  [[nodiscard]] std::vector<pci::Bar> size_bars(Bdf bdf, std::uint8_t count) {
    std::vector<pci::Bar> bars;
    for (std::uint8_t index = 0; index < count; ++index) {
      const std::size_t at = std::size_t{index} * pci::BaseAddress::kStrideBytes;
      const auto before = load<pci::BaseAddress>(bdf, at);
      std::uint64_t mask = size_mask(bdf, at);
      if ((mask & ~std::uint64_t{0xf}) == 0 && before.get(pci::BaseAddress::memory_type) != pci::BaseAddress::kType64)
        continue;
      pci::Bar bar{.index = index, .is_prefetchable = before.get(pci::BaseAddress::prefetchable)};
      bar.is_64bit = before.get(pci::BaseAddress::memory_type) == pci::BaseAddress::kType64;
      mask &= ~std::uint64_t{0xf};
      mask |= bar.is_64bit ? size_mask(bdf, at + 4) << 32 : 0xffffffff00000000;
      bar.size_bytes = ~mask + 1;
      if (bar.is_64bit) ++index;
      bars.push_back(bar);
    }
    return bars;
  }

  [[nodiscard]] std::uint64_t size_mask(Bdf bdf, std::size_t at) {
    const auto before = load<pci::BaseAddress>(bdf, at);
    store(bdf, pci::BaseAddress::from(0xffffffff), at);
    const auto stuck = load<pci::BaseAddress>(bdf, at);
    store(bdf, before, at);
    return stuck.raw;
  }

  // Gives addresses from `next` on to all that wants them from this pool, and returns the first that is left.
  [[nodiscard]] Result<std::uint64_t> place(std::vector<Found>& functions, Pool pool, std::uint64_t next,
                                            std::uint64_t end) {
    for (const Item& item : items_of(functions, pool)) {
      const std::uint64_t start = round_up(next, item.alignment);
      if (start < next || start > end || item.bytes > end - start)
        return fail({.code = ErrorCode::exhausted,
                     .doing = "giving addresses to the BARs of the machine " + system_.description.name,
                     .subject = item.owner->bdf.to_string(),
                     .why = fmt::format("{} bytes do not fit into what is left of the {} window", item.bytes,
                                        pool == Pool::low32 ? "32-bit" : "64-bit"),
                     .cure = "make the BARs smaller, or 64-bit and prefetchable"});
      next = start + item.bytes;
      if (item.bar != nullptr) {
        item.bar->address = start;
        const pci::BarRegisters registers = pci::encode_bar(*item.bar);
        const std::size_t at = std::size_t{item.bar->index} * pci::BaseAddress::kStrideBytes;
        store(item.owner->bdf, pci::BaseAddress::from(registers.low), at);
        if (item.bar->is_64bit) store(item.owner->bdf, pci::BaseAddress::from(registers.high), at + 4);
        continue;
      }
      open_window(item.owner->bdf, pool, {start, next - 1});
      const auto inside = place(item.owner->behind, pool, start, next);
      if (!inside) return inside;
    }
    return next;
  }

  void open_window(Bdf bdf, Pool pool, pci::AddressWindow window) {
    namespace bridge = pci::bridge;
    const auto upper_half = [](std::uint64_t address) { return static_cast<std::uint32_t>(address >> 32); };
    const auto granule = [](std::uint64_t address) { return static_cast<std::uint16_t>(address >> 16 & 0xfff0); };
    if (pool == Pool::low32) {
      store(bdf, bridge::MemoryBase::from(granule(window.first)));
      store(bdf, bridge::MemoryLimit::from(granule(window.last)));
      return;
    }
    store(bdf, bridge::PrefetchableBase::from(granule(window.first)));
    store(bdf, bridge::PrefetchableLimit::from(granule(window.last)));
    store(bdf, bridge::PrefetchableBaseUpper::from(upper_half(window.first)));
    store(bdf, bridge::PrefetchableLimitUpper::from(upper_half(window.last)));
  }

  void enable(const std::vector<Found>& functions) {
    for (const Found& found : functions) {
      store(found.bdf,
            load<pci::Command>(found.bdf).with(pci::Command::memory_space, true).with(pci::Command::bus_master, true));
      enable_packets(found.bdf);
      enable_translation(found.bdf);
      enable(found.behind);
    }
  }

  // What an operating system adds, in Linux's order (intel_iommu's context entries, then pci_enable_ats): a function that
  // has ATS may use it, with pages of 4 KiB for the smallest unit, where the IOMMU translates.
  void enable_translation(Bdf bdf) {
    Node* node = system_.config_target(bdf);
    const std::uint16_t at = node->capabilities.ats;
    if (at == 0 || system_.description.iommu != IommuMode::translate) return;
    {
      const std::lock_guard lock(system_.mutex);
      node->domain->allow_ats(true);
    }
    store(bdf, pci::ats::Control{}.with(pci::ats::Control::enable, true), at);
  }

  // 256 bytes is what most firmware agrees on. Relaxed Ordering stays off: the models never ask for it, and a switch that
  // may let a completion pass would be one fact more that nobody controls.
  void enable_packets(Bdf bdf) {
    namespace express = pci::express;
    const Node* node = system_.config_target(bdf);
    const std::uint16_t at = node->capabilities.express;
    if (at == 0) return;
    store(bdf,
          load<express::DeviceControl>(bdf, at)
              .with(express::DeviceControl::max_payload_log2_minus7, 1)
              .with(express::DeviceControl::relaxed_ordering, false),
          at);
  }

  System& system_;
  unsigned next_bus_ = 0;
};

}  // namespace

Result<void> System::enumerate() {
  if (enumerated)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "enumerating the machine " + description.name,
                 .why = "it is enumerated already"});
  if (auto done = Firmware(*this).run(); !done) return done;
  {
    const std::lock_guard lock(mutex);
    for (const auto& node : nodes) {
      node->bdf = Bdf{node->root_complex->domain, node->bus(), node->device, node->function};
      by_bdf.emplace(*node->bdf, node.get());
    }
    enumerated = true;
    forget_all();
  }
  runner->start();
  return {};
}

}  // namespace barter::fabric
