#include "qemu_limits.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "barter/units.hpp"

namespace barter::guest {
namespace {

using topology::Description;
using topology::FunctionDescription;
using topology::LinkDescription;
using topology::PortDescription;
using topology::SwitchDescription;

using namespace barter::literals;

constexpr std::uint16_t kAcsOfRootPort = 0x5f;  // pcie-root-port: SV, TB, RR, CR, UF, DT
constexpr std::size_t kMostRootDevices = 30;    // 00.0 is the host bridge and 1f.x the south bridge
constexpr std::size_t kMostPorts = 255;         // the chassis number of a port has eight bits
constexpr std::size_t kMostSerialBytes = 20;    // a drive is found in the guest by its name, as its serial number
constexpr std::uint64_t kMostControllerMemory = 1_GiB;

// A machine that leaves everything open: what its parts say is what the parser takes where the description is silent.
const Description& silent() {
  static const Description machine = *topology::parse_description(R"(
    [[root_complex]]
    name = "rc0"
    [[root_port]]
    name = "rp0"
    below = "rc0"
    [[switch]]
    name = "sw0"
    below = "rp0"
    ports = 1
    [[drive]]
    name = "nvme0"
    below = "sw0.0"
    size = 512
  )",
                                                                  "silent");
  return machine;
}

bool same(const LinkDescription& a, const LinkDescription& b) { return a.max == b.max && a.now == b.now; }

class Checker {
 public:
  explicit Checker(const Description& machine) : machine_(machine) {}

  Result<void> check() {
    check_root_complexes();
    for (const auto& port : machine_.root_ports) check_root_port(port.port);
    for (const SwitchDescription& part : machine_.switches) check_switch(part);
    for (const FunctionDescription& function : machine_.functions) check_function(function);
    std::size_t ports = machine_.root_ports.size();
    for (const SwitchDescription& part : machine_.switches) ports += part.downstream.size();
    if (ports > kMostPorts)
      refuse(machine_.name, fmt::format("it has {} ports, and QEMU tells {} apart", ports, kMostPorts));
    if (first_) return fail(*first_);
    return {};
  }

 private:
  void refuse(const std::string& part, std::string why, std::string cure = {}) {
    if (first_) return;
    first_ = Error{.code = ErrorCode::unsupported,
                   .doing = "making a guest of",
                   .subject = machine_.source,
                   .where = part,
                   .why = std::move(why),
                   .cure = std::move(cure)};
  }

  void check_root_complexes() {
    std::optional<std::uint8_t> last;
    for (const auto& root : machine_.root_complexes) {
      const auto& usual = silent().root_complexes.front();
      if (root.domain != 0) refuse(root.name, "QEMU's machine has domain 0 only", "leave domain out");
      if (root.numa_node != 0) refuse(root.name, "guests have one NUMA node", "leave numa_node out");
      if (root.host_bridge_vendor != usual.host_bridge_vendor || root.host_bridge_device != usual.host_bridge_device)
        refuse(root.name, "QEMU's host bridge is 8086:29c0", "leave host_bridge out");
      if (!last && root.root_bus != 0)
        refuse(root.name, "the first root bus of QEMU's machine is 0", "leave root_bus out");
      if (last && root.root_bus <= *last)
        refuse(root.name, "root buses have to come in ascending order", "give this one a higher root_bus");
      last = root.root_bus;
      check_root_devices(root.name);
    }
  }

  void check_root_devices(const std::string& root) {
    std::size_t devices = 0;
    for (const auto& port : machine_.root_ports) devices += port.root_complex == root ? 1u : 0u;
    for (const FunctionDescription& function : machine_.functions) devices += function.below == root ? 1u : 0u;
    if (root == machine_.root_complexes.front().name) devices += machine_.root_complexes.size() - 1;
    if (devices > kMostRootDevices)
      refuse(root,
             fmt::format("{} devices on its root bus, of which QEMU's machine takes {}", devices, kMostRootDevices));
  }

  void check_name(const std::string& name) {
    if (!std::isalpha(static_cast<unsigned char>(name.front())))
      refuse(name, "a part of a QEMU machine is called by a name that begins with a letter");
  }

  void check_root_port(const PortDescription& port) {
    const PortDescription& usual = silent().root_ports.front().port;
    check_name(port.name);
    if (port.vendor_id != usual.vendor_id || port.device_id != usual.device_id)
      refuse(port.name, "QEMU's root ports are 1b36:000c", "leave id out");
    if (!same(port.link, usual.link)) refuse(port.name, "QEMU has links of its own", "leave link out");
    if (!port.acs) return;
    if (port.acs->capability != kAcsOfRootPort || !port.acs->egress_control_vector.empty())
      refuse(port.name, "QEMU's root ports have ACS with SV, TB, RR, CR, UF and DT, and no egress control",
             "write acs = [...] with bits of these");
  }

  void check_switch(const SwitchDescription& part) {
    const SwitchDescription& usual = silent().switches.front();
    check_name(part.name);
    if (!same(part.upstream.link, usual.upstream.link))
      refuse(part.name, "QEMU has links of its own", "leave link out");
    for (const PortDescription& port : part.downstream) {
      if (port.vendor_id != usual.upstream.vendor_id || port.device_id != usual.upstream.device_id)
        refuse(port.name, "QEMU's switches are 104c:8232", "leave id out");
      if (!same(port.link, usual.downstream.front().link))
        refuse(port.name, "QEMU has links of its own", "leave link and port_link out");
      if (port.acs) refuse(port.name, "QEMU's switches have no ACS", "leave acs out, or give the bits to a root port");
    }
  }

  [[nodiscard]] bool is_further_root(const std::string& below) const {
    const auto& roots = machine_.root_complexes;
    return std::any_of(roots.begin() + 1, roots.end(), [&](const auto& root) { return root.name == below; });
  }

  void check_function(const FunctionDescription& function) {
    const FunctionDescription& usual = silent().functions.front();
    const std::string& name = function.name;
    check_name(name);
    if (!function.drive) return refuse(name, "guests have drives only", "leave [[function]] out");
    if (function.vendor_id != usual.vendor_id || function.device_id != usual.device_id)
      refuse(name, "QEMU's drives are 1b36:0010", "leave id out");
    if (!same(function.link, usual.link)) refuse(name, "QEMU has links of its own", "leave link out");
    if (function.acs) refuse(name, "QEMU's drives have no ACS", "leave acs out, or give the bits to a root port");
    if (is_further_root(function.below))
      refuse(name, "QEMU has integrated drives on its first root bus only", "give it a root port");
    if (name.size() > kMostSerialBytes)
      refuse(name, fmt::format("its name has {} characters, and becomes a serial number of {}", name.size(),
                               kMostSerialBytes));
    const auto& drive = *function.drive;
    if (drive.cmb_bytes % 1_MiB != 0 || drive.cmb_bytes > kMostControllerMemory)
      refuse(name, "QEMU has controller memory buffers of 1 MiB to 1 GiB", "write cmb = \"16 MiB\"");
    if (drive.doorbell_stride_log2 != 0)
      refuse(name, "QEMU's doorbells lie side by side", "leave doorbell_stride_log2 out");
    if (drive.max_queue_entries != usual.drive->max_queue_entries)
      refuse(name, "QEMU's queues have 2048 entries", "leave max_queue_entries out");
    if (!drive.sgl) refuse(name, "QEMU's drives take scatter-gather lists", "leave sgl out");
  }

  const Description& machine_;
  std::optional<Error> first_;
};

}  // namespace

Result<void> check_for_qemu(const Description& machine) { return Checker(machine).check(); }

}  // namespace barter::guest
