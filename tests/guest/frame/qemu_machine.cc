#include "qemu_machine.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "qemu_limits.h"

namespace barter::guest {
namespace {

using topology::Description;
using topology::FunctionDescription;
using topology::NamespaceDescription;
using topology::PortDescription;
using topology::RootComplexDescription;
using topology::SwitchDescription;

// QEMU writes a comma inside a value twice.
std::string quoted(std::string_view text) {
  std::string out;
  for (const char c : text) out.append(c == ',' ? 2 : 1, c);
  return out;
}

// Writes the arguments part by part, top down: QEMU wants a bus before what is plugged into it.
class Writer {
 public:
  Writer(const Description& machine, std::string_view folder) : machine_(machine), folder_(folder) {}

  QemuMachine write() {
    write_board();
    for (const RootComplexDescription& root : machine_.root_complexes) write_root_complex(root);
    for (const auto& port : machine_.root_ports) write_root_port(port);
    write_switches();
    for (const FunctionDescription& function : machine_.functions) write_drive(function);
    if (!acs_.empty()) out_.kernel.push_back(fmt::format("pci=config_acs={}", fmt::join(acs_, ";")));
    return std::move(out_);
  }

 private:
  void device(std::string properties) {
    out_.arguments.emplace_back("-device");
    out_.arguments.push_back(std::move(properties));
  }

  void write_board() {
    const bool has_iommu = machine_.iommu != IommuMode::off;
    // No HPET: where the computer is busy, the kernel sets its comparator to a time that has passed already, and then waits
    // for the counter to come round.
    out_.arguments.insert(out_.arguments.end(),
                          {"-M", has_iommu ? "q35,hpet=off,kernel-irqchip=split" : "q35,hpet=off"});
    // Everything that the emulated processor can do, under the name that the description gives: the rule about CPUs goes by
    // vendor and family alone.
    out_.arguments.insert(out_.arguments.end(),
                          {"-cpu", machine_.cpu ? fmt::format("max,vendor={},family={},model=1,stepping=2",
                                                              machine_.cpu->vendor, machine_.cpu->family)
                                                : "max"});
    if (!has_iommu) return;
    device("intel-iommu,intremap=on,caching-mode=on");
    out_.kernel.emplace_back("intel_iommu=on");
    out_.kernel.emplace_back(machine_.iommu == IommuMode::passthrough ? "iommu=pt" : "iommu.passthrough=0");
  }

  // The first one is the board's own bus.
  void write_root_complex(const RootComplexDescription& root) {
    if (roots_.empty()) {
      roots_[root.name] = {.bus = "pcie.0", .number = 0, .next_device = 1};
      return;
    }
    device(
        fmt::format("pxb-pcie,id={},bus=pcie.0,addr={:x},bus_nr={}", root.name, board().next_device++, root.root_bus));
    roots_[root.name] = {.bus = root.name, .number = root.root_bus, .next_device = 0};
  }

  void write_root_port(const topology::RootPortDescription& described) {
    Root& root = roots_.at(described.root_complex);
    const PortDescription& port = described.port;
    const std::uint32_t number = root.next_device++;
    const std::string bdf = fmt::format("{:02x}:{:02x}.0", root.number, number);
    const std::uint32_t slot = ++slots_;
    device(fmt::format("pcie-root-port,id={},bus={},addr={:x},chassis={},slot={}{}", port.name, root.bus, number, slot,
                       slot, port.acs ? "" : ",disable-acs=on"));
    if (port.acs) acs_.push_back(fmt::format("{:07b}@{}", port.acs->control, bdf));
  }

  // A switch comes after the port that it is plugged into, wherever it stands in the description.
  void write_switches() {
    std::vector<const SwitchDescription*> waiting;
    for (const SwitchDescription& part : machine_.switches) waiting.push_back(&part);
    while (!waiting.empty()) {
      const auto is_ready = [&](const SwitchDescription* part) {
        return std::ranges::none_of(waiting, [&](const SwitchDescription* other) {
          return std::ranges::any_of(other->downstream, [&](const auto& port) { return port.name == part->below; });
        });
      };
      const auto next = std::ranges::find_if(waiting, is_ready);
      write_switch(**next);
      waiting.erase(next);
    }
  }

  void write_switch(const SwitchDescription& part) {
    device(fmt::format("x3130-upstream,id={},bus={}", part.name, part.below));
    for (std::size_t i = 0; i < part.downstream.size(); ++i) {
      const std::uint32_t slot = ++slots_;
      device(fmt::format("xio3130-downstream,id={},bus={},addr={:x},port={},chassis={},slot={}",
                         part.downstream[i].name, part.name, i, i, slot, slot));
    }
  }

  void write_drive(const FunctionDescription& function) {
    const auto root = roots_.find(function.below);
    const std::string place = root == roots_.end()
                                  ? fmt::format("bus={},addr=0.{}", function.below, function.function)
                                  : fmt::format("bus={},addr={:x}", root->second.bus, root->second.next_device++);
    const bool has_siblings = std::ranges::any_of(machine_.functions, [&](const FunctionDescription& other) {
      return root == roots_.end() && other.below == function.below && other.function != function.function;
    });
    device(fmt::format("nvme,id={},serial={},{}{},cmb_size_mb={},max_ioqpairs={}", function.name, function.name, place,
                       has_siblings ? ",multifunction=on" : "", function.drive->cmb_bytes >> 20,
                       function.drive->max_queues));
    std::uint32_t number = 0;
    for (const NamespaceDescription& space : function.drive->namespaces) write_namespace(function, space, ++number);
  }

  void write_namespace(const FunctionDescription& function, const NamespaceDescription& space, std::uint32_t number) {
    const std::string id = fmt::format("{}-n{}", function.name, number);
    const std::string path = space.file.empty() ? fmt::format("{}/{}.img", folder_, id) : space.file;
    out_.images.push_back({.path = path, .size_bytes = space.size_bytes});
    out_.arguments.insert(out_.arguments.end(),
                          {"-drive", fmt::format("file={},if=none,id={},format=raw,cache=unsafe", quoted(path), id)});
    device(fmt::format("nvme-ns,drive={},bus={},nsid={},logical_block_size={},physical_block_size={}", id,
                       function.name, number, space.block_bytes, space.block_bytes));
  }

  struct Root {
    std::string bus;  // QEMU's name for it
    std::uint32_t number = 0;
    std::uint32_t next_device = 0;
  };
  Root& board() { return roots_.at(machine_.root_complexes.front().name); }

  const Description& machine_;
  std::string folder_;
  QemuMachine out_;
  std::map<std::string, Root> roots_;
  std::vector<std::string> acs_;
  std::uint32_t slots_ = 0;
};

}  // namespace

Result<QemuMachine> qemu_machine(const Description& machine, std::string_view folder) {
  if (auto fits = check_for_qemu(machine); !fits) return fail(fits.error());
  return Writer(machine, folder).write();
}

}  // namespace barter::guest
