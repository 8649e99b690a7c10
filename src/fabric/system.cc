#include "fabric/system.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "fabric/config_layout.h"
#include "pci/capabilities/express.h"
#include "pci/config_header.h"

namespace barter::fabric {

Node::Node() = default;
Node::~Node() = default;

bool Node::memory_enabled() const { return registers.get<pci::Command>().get(pci::Command::memory_space); }
bool Node::master_enabled() const { return registers.get<pci::Command>().get(pci::Command::bus_master); }

BusRange Node::buses() const {
  return {registers.get<pci::bridge::SecondaryBus>().raw, registers.get<pci::bridge::SubordinateBus>().raw};
}

std::optional<pci::AddressWindow> Node::bar_window(const BarRequest& bar) const {
  const std::size_t at = std::size_t{bar.index} * pci::BaseAddress::kStrideBytes;
  std::uint64_t address = registers.get<pci::BaseAddress>(at).raw & ~std::uint32_t{0xf};
  if (bar.is_64bit) address |= std::uint64_t{registers.get<pci::BaseAddress>(at + 4).raw} << 32;
  // An address that wraps around the end is what is left of sizing: nobody answers there.
  if (address == 0 || address + (bar.size_bytes - 1) < address) return std::nullopt;
  return pci::AddressWindow{address, address + (bar.size_bytes - 1)};
}

System::System(const topology::Description& machine, Options chosen) : options(chosen), description(machine) {}

System::~System() {
  if (runner) runner->stop();
}

Node* System::find(Bdf bdf) const {
  const auto found = by_bdf.find(bdf);
  return found == by_bdf.end() ? nullptr : found->second;
}

Node* System::find(std::string_view name) const {
  const auto found = std::find_if(nodes.begin(), nodes.end(), [&](const auto& node) { return node->name == name; });
  return found == nodes.end() ? nullptr : found->get();
}

void System::forget_all() {
  epoch.fetch_add(1, std::memory_order_seq_cst);
  for (FunctionRequester* requester : requesters) {
    requester->forget();
    requester->publish_configuration();
  }
}

Result<pci::DmaBuffer> System::lend_host_memory(std::uint64_t bytes, pci::DmaUse use) {
  Result<HostMemory::Piece> piece;
  {
    const std::lock_guard lock(mutex);
    piece = host_memory->allocate(bytes, use);
  }
  if (!piece) return fail(piece.error());
  const std::span<std::byte> memory(host_memory->at(piece->start), bytes);
  return pci::DmaBuffer(memory, {piece->start}, [this, start = piece->start] {
    {
      const std::lock_guard lock(mutex);
      host_memory->release(start);
      forget_all();
    }
    wait_until_all_idle();
  });
}

void System::wait_until_all_idle() const {
  if (options.running == Running::stepped) return;
  for (const FunctionRequester* requester : requesters) requester->wait_until_idle();
}

void System::wait_until_idle(const Node& node) const {
  if (options.running == Running::threaded && node.requester) node.requester->wait_until_idle();
}

void System::refresh_reachability() {
  // Parents come before their children in the list.
  for (const auto& node : nodes) {
    const Node* above = node->parent;
    node->routable =
        node->present && (above == nullptr || (above->routable && (!above->has_link_below() || above->link_up)));
    node->running.store(node->routable, std::memory_order_release);
  }
}

void System::record_fault(const IommuFault& fault) {
  ++refusals.iommu_faults;
  if (faults.size() == kMaxLoggedFaults) faults.pop_front();
  faults.push_back(fault);
}

namespace {

Error cannot_plug(std::string_view name, std::string why) {
  return {.code = ErrorCode::invalid_argument,
          .doing = "plugging a device model into the machine",
          .subject = std::string(name),
          .why = std::move(why)};
}

// What is wrong with the BARs that a model asks for; empty: nothing.
std::string defect_of(const FunctionIdentity& identity) {
  unsigned taken = 0;
  for (const BarRequest& bar : identity.bars) {
    const unsigned registers = bar.is_64bit ? 3u << bar.index : 1u << bar.index;
    if (bar.index > 5 || registers >= 1u << 6) return fmt::format("there is no BAR {}", bar.index);
    if ((taken & registers) != 0) return fmt::format("BAR {} shares a register with another one", bar.index);
    taken |= registers;
    if (bar.size_bytes < 128 || (bar.size_bytes & (bar.size_bytes - 1)) != 0)
      return fmt::format("BAR {} has {} bytes, which is no power of two from 128 on", bar.index, bar.size_bytes);
    if (!bar.is_64bit && bar.size_bytes > std::uint64_t{1} << 31)
      return fmt::format("BAR {} of {} bytes needs 64 bits", bar.index, bar.size_bytes);
    if (bar.size_bytes > std::uint64_t{1} << 44)
      return fmt::format("BAR {} of {} bytes is above the limit of 16 TiB", bar.index, bar.size_bytes);
  }
  if (identity.msix_vectors == 0) return {};
  if (identity.msix_vectors > 2048) return fmt::format("{} MSI-X vectors are above 2048", identity.msix_vectors);
  const std::uint64_t table_bytes = std::uint64_t{identity.msix_vectors} * 16;
  const std::uint64_t pending_bytes = (std::uint64_t{identity.msix_vectors} + 63) / 64 * 8;
  for (const BarRequest& bar : identity.bars) {
    if (bar.index != identity.msix_bar) continue;
    const auto fits = [&bar](BarOffset at, std::uint64_t bytes) {
      return at.value % 8 == 0 && at.value <= bar.size_bytes && bytes <= bar.size_bytes - at.value;
    };
    if (fits(identity.msix_table, table_bytes) && fits(identity.msix_pending, pending_bytes)) return {};
  }
  return "the MSI-X table or its pending bits do not lie in a BAR";
}

}  // namespace

Result<void> System::plug(std::string_view name, std::unique_ptr<Device> device) {
  Node* node = find(name);
  if (node == nullptr || node->role != Role::endpoint)
    return fail(cannot_plug(name, "there is no function of that name"));
  if (enumerated) return fail(cannot_plug(name, "the machine is already enumerated"));
  if (!device || node->model) return fail(cannot_plug(name, "it needs one model, and one only"));
  const FunctionIdentity& identity = device->identity();
  if (std::string defect = defect_of(identity); !defect.empty()) return fail(cannot_plug(name, std::move(defect)));

  const auto described = std::find_if(description.functions.begin(), description.functions.end(),
                                      [&](const auto& function) { return function.name == name; });
  const bool multi_function = node->registers.get<pci::HeaderType>().get(pci::HeaderType::multi_function);
  lay_out_endpoint(*node, *described, identity,
                   {.integrated = node->parent == nullptr, .multi_function = multi_function});
  node->requester = std::make_unique<FunctionRequester>(*this, *node);
  requesters.push_back(node->requester.get());
  node->model = std::move(device);
  node->model->attach(*node->requester);
  std::vector<MemoryWindow> windows = node->model->windows();
  const std::lock_guard lock(mutex);
  node->windows = std::move(windows);
  return {};
}

}  // namespace barter::fabric
