#include "fabric/fabric.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "fabric/function.h"
#include "fabric/system.h"
#include "pci/config_header.h"

namespace barter::fabric {

struct Fabric::Machine {
  std::unique_ptr<System> system;
};

namespace {

// What domain() gives for a function that isn't there: it lets nothing through.
class NoDomain final : public peer::DmaDomain {
 public:
  [[nodiscard]] bool translates() const override { return true; }
  [[nodiscard]] Result<DmaAddress> map(BusAddress, std::uint64_t, Access) override {
    return fail({.code = ErrorCode::not_found, .doing = "mapping memory for DMA", .why = "there is no such function"});
  }
  void unmap(DmaAddress, std::uint64_t) override {}
};

}  // namespace

Fabric::Fabric(std::unique_ptr<Machine> machine) : machine_(std::move(machine)) {}
Fabric::~Fabric() = default;

Result<std::unique_ptr<Fabric>> Fabric::create(const topology::Description& description, Options options) {
  auto system = System::create(description, options);
  if (!system) return fail(system.error());
  return std::unique_ptr<Fabric>(new Fabric(std::make_unique<Machine>(Machine{std::move(*system)})));
}

Result<void> Fabric::plug(std::string_view name, std::unique_ptr<Device> device) {
  return machine_->system->plug(name, std::move(device));
}

Result<void> Fabric::enumerate() { return machine_->system->enumerate(); }

Result<Bdf> Fabric::find(std::string_view name) const {
  const Node* node = machine_->system->find(name);
  if (node != nullptr && node->bdf) return *node->bdf;
  return fail({.code = ErrorCode::not_found,
               .doing = "looking for a function of the machine " + machine_->system->description.name,
               .subject = fmt::format("'{}'", name),
               .why = node == nullptr ? "nothing has that name" : "the machine is not enumerated yet"});
}

Result<std::unique_ptr<pci::Function>> Fabric::function(Bdf bdf) {
  Node* node = machine_->system->find(bdf);
  if (node == nullptr)
    return fail({.code = ErrorCode::not_found,
                 .doing = "opening a function of the machine " + machine_->system->description.name,
                 .subject = bdf.to_string(),
                 .why = "there is no such function"});
  return std::make_unique<SoftwareFunction>(*machine_->system, *node);
}

Result<pci::DmaBuffer> Fabric::allocate_host(std::uint64_t bytes) {
  return machine_->system->lend_host_memory(bytes, pci::DmaUse::data);
}

peer::DmaDomain& Fabric::domain(Bdf bdf) {
  static NoDomain nobody;
  Node* node = machine_->system->find(bdf);
  if (node == nullptr) return nobody;
  return *node->domain;
}

TopologyParts Fabric::topology() const { return machine_->system->topology(); }

std::vector<std::byte> Fabric::config_space(Bdf bdf) const {
  System& system = *machine_->system;
  const std::lock_guard lock(system.mutex);
  std::vector<std::byte> bytes(pci::ConfigSpace::kExtendedBytes, std::byte{0xff});
  if (const Node* node = system.config_target(bdf)) {
    const auto values = std::as_bytes(node->registers.values().bytes());
    std::copy(values.begin(), values.end(), bytes.begin());
  }
  return bytes;
}

Counters Fabric::counters() const { return machine_->system->counters(); }

std::vector<IommuFault> Fabric::iommu_faults() const {
  const std::lock_guard lock(machine_->system->mutex);
  return {machine_->system->faults.begin(), machine_->system->faults.end()};
}

base::Clock& Fabric::clock() { return machine_->system->runner->clock(); }

std::vector<std::string> Fabric::violations() const {
  std::vector<std::string> all;
  for (const auto& node : machine_->system->nodes) {
    if (!node->model) continue;
    const std::lock_guard lock(node->step_mutex);
    for (const std::string& what : node->model->violations()) all.push_back(node->name + ": " + what);
  }
  return all;
}

void Fabric::remove(Bdf bdf) {
  if (Node* node = machine_->system->find(bdf)) machine_->system->remove(*node);
}

void Fabric::put_back(Bdf bdf) {
  if (Node* node = machine_->system->find(bdf)) machine_->system->put_back(*node);
}

void Fabric::set_link(Bdf bdf, bool up) {
  Node* node = machine_->system->find(bdf);
  while (node != nullptr && !node->has_link_below()) node = node->parent;
  if (node != nullptr) machine_->system->set_link(*node, up);
}

void Fabric::set_bus_master(Bdf bdf, bool enabled) {
  System& system = *machine_->system;
  Node* node = system.find(bdf);
  if (node == nullptr) return;
  {
    const std::lock_guard lock(system.mutex);
    const auto command = node->registers.get<pci::Command>();
    node->registers.set(command.with(pci::Command::bus_master, enabled));
    system.forget_all();
  }
  system.wait_until_all_idle();
}

void Fabric::allow_ats(Bdf bdf, bool allowed) {
  System& system = *machine_->system;
  Node* node = system.find(bdf);
  if (node == nullptr) return;
  {
    const std::lock_guard lock(system.mutex);
    node->domain->allow_ats(allowed);
    if (node->requester) node->requester->forget();
  }
  system.wait_until_idle(*node);
}

void Fabric::ignore_invalidations(Bdf bdf, bool ignores) {
  System& system = *machine_->system;
  const std::lock_guard lock(system.mutex);
  if (Node* node = system.find(bdf)) node->domain->ignore_invalidations(ignores);
}

}  // namespace barter::fabric
