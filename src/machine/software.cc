#include "machine/software.h"

#include <algorithm>
#include <bit>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "devices/accelerator/accelerator.h"
#include "devices/dma_engine/dma_engine.h"
#include "devices/nic/nic.h"
#include "devices/nvme/backing.h"
#include "devices/nvme/controller.h"
#include "fabric/fabric.h"
#include "machine/accelerator_endpoint.h"
#include "machine/dma_engine_unit.h"
#include "machine/nic_unit.h"
#include "machine/nvme_endpoint.h"
#include "machine/wire_route.h"

namespace barter::machine {
namespace {

using topology::Description;
using topology::FunctionDescription;

constexpr std::uint32_t kFirstNamespace = 1;

// The models of drives, accelerators and NICs, by name; the fabric owns them.
using Models = std::map<std::string, fabric::Device*>;

class SoftwareBackend final : public Backend {
 public:
  SoftwareBackend(std::unique_ptr<fabric::Fabric> fabric, Models models,
                  std::vector<topology::DeviceLinkDescription> device_links, bool threaded)
      : fabric_(std::move(fabric)),
        models_(std::move(models)),
        device_links_(std::move(device_links)),
        threaded_(threaded) {}

  [[nodiscard]] base::Clock& clock() override { return fabric_->clock(); }
  [[nodiscard]] bool runs_by_itself() const override { return threaded_; }

  [[nodiscard]] std::optional<HostTraffic> traffic() const override {
    const fabric::Counters counters = fabric_->counters();
    return HostTraffic{.data_bytes = counters.host_data_read_bytes + counters.host_data_written_bytes,
                       .control_bytes = counters.host_control_read_bytes + counters.host_control_written_bytes,
                       .peer_bytes = counters.peer_read_bytes + counters.peer_written_bytes};
  }

  [[nodiscard]] Result<void> pull_out(const DriveUnit& unit) override {
    fabric_->remove(unit.bdf);
    return {};
  }

  [[nodiscard]] Result<void> reset(const DriveUnit& unit) override {
    auto function = fabric_->function(unit.bdf);
    if (!function) return std::unexpected(std::move(function.error()));
    return (*function)->reset();
  }

  [[nodiscard]] Result<void> set_device_link(const DriveUnit& one, const DriveUnit& other, bool works) override {
    for (const topology::DeviceLinkDescription& link : device_links_) {
      if (std::minmax(link.first.accelerator, link.second.accelerator) != std::minmax(one.name, other.name)) continue;
      devices::accelerator::set_link({*models_.at(link.first.accelerator), link.first.port}, works);
      return {};
    }
    return Backend::set_device_link(one, other, works);
  }

  // The fabric does what the wire rule says, so that is the rule here.
  [[nodiscard]] peer::RouteAnswer route(const Topology& topology, Bdf client, Bdf provider) override {
    return wire_route(topology, client, provider);
  }

  [[nodiscard]] Result<HostRoom> host_room(std::uint64_t bytes) override {
    auto buffer = fabric_->allocate_host(bytes);
    if (!buffer) return std::unexpected(std::move(buffer.error()));
    return HostRoom{.buffer = std::move(*buffer), .is_known_by_pointer = false};
  }

  [[nodiscard]] std::string last_trouble(const DriveUnit& drive) override {
    const auto model = models_.find(drive.name);
    if (model == models_.end()) return {};  // it has no medium, as an engine has none
    const auto error = devices::nvme::last_backing_error(*model->second);
    return error ? error->message() : std::string();
  }

  [[nodiscard]] fabric::Fabric& fabric() { return *fabric_; }

 private:
  std::unique_ptr<fabric::Fabric> fabric_;
  Models models_;
  std::vector<topology::DeviceLinkDescription> device_links_;
  bool threaded_;
};

fabric::Options fabric_options(const MachineOptions& options) {
  return {.running = options.threaded ? fabric::Running::threaded : fabric::Running::stepped,
          .seed = options.seed,
          .faults = {.lost_completion = options.faults.lost_completion,
                     .poisoned_completion = options.faults.poisoned_completion,
                     .late_completion = options.faults.late_completion,
                     .surprise_removal = options.faults.surprise_removal,
                     .link_down = options.faults.link_down}};
}

Result<void> check_attachments(const Description& description, const MachineOptions& options) {
  std::vector<std::string> seen;
  for (const Attachment& attachment : options.attach) {
    const auto refuse = [&](ErrorCode code, std::string why) {
      return fail(
          {.code = code,
           .doing = "attaching the file",
           .subject = fmt::format("{} to {} of {}", attachment.file.string(), attachment.drive, description.name),
           .why = std::move(why)});
    };
    const auto drive = std::ranges::find(description.functions, attachment.drive, &FunctionDescription::name);
    if (drive == description.functions.end() || !drive->drive)
      return refuse(ErrorCode::not_found, "there is no such drive");
    if (std::ranges::find(seen, attachment.drive) != seen.end())
      return refuse(ErrorCode::invalid_argument, "the drive has a file attached already");
    seen.push_back(attachment.drive);
  }
  return {};
}

Result<std::unique_ptr<devices::nvme::Backing>> make_backing(const FunctionDescription& function, std::size_t index,
                                                             const MachineOptions& options) {
  const topology::NamespaceDescription& space = function.drive->namespaces[index];
  const auto attached = std::ranges::find(options.attach, function.name, &Attachment::drive);
  if (index == 0 && attached != options.attach.end())
    return devices::nvme::open_file_backing(attached->file, space.block_bytes);
  if (!space.file.empty()) return devices::nvme::open_file_backing(space.file, space.block_bytes);
  return devices::nvme::create_memory_backing(space.size_bytes);
}

Result<fabric::Device*> plug(fabric::Fabric& fabric, const FunctionDescription& function,
                             Result<std::unique_ptr<fabric::Device>> device) {
  if (!device) return std::unexpected(std::move(device.error()));
  fabric::Device* model = device->get();
  if (auto plugged = fabric.plug(function.name, std::move(*device)); !plugged)
    return std::unexpected(std::move(plugged.error()));
  return model;
}

Result<fabric::Device*> plug_drive(fabric::Fabric& fabric, const FunctionDescription& function,
                                   const MachineOptions& options) {
  const topology::DriveDescription& drive = *function.drive;
  devices::nvme::ControllerSetup setup{.vendor_id = function.vendor_id,
                                       .device_id = function.device_id,
                                       .serial = function.name,
                                       .cmb_bytes = drive.cmb_bytes,
                                       .max_queues = drive.max_queues,
                                       .max_queue_entries = drive.max_queue_entries,
                                       .doorbell_stride_log2 = drive.doorbell_stride_log2,
                                       .sgl = drive.sgl};
  for (std::size_t index = 0; index < drive.namespaces.size(); ++index) {
    auto backing = make_backing(function, index, options);
    if (!backing) return std::unexpected(std::move(backing.error()));
    setup.namespaces.push_back({.backing = std::move(*backing), .block_bytes = drive.namespaces[index].block_bytes});
  }
  auto device = devices::nvme::create_controller(std::move(setup));
  return plug(fabric, function, std::move(device));
}

Result<fabric::Device*> plug_accelerator(fabric::Fabric& fabric, const FunctionDescription& function,
                                         std::uint64_t unit) {
  const topology::AcceleratorDescription& part = *function.accelerator;
  auto device = devices::accelerator::create_accelerator({.vendor_id = function.vendor_id,
                                                          .device_id = function.device_id,
                                                          .memory_bytes = part.memory_bytes,
                                                          .window_bytes = part.window_bytes,
                                                          .copy_channels = part.copy_channels,
                                                          .compute_channels = part.compute_channels,
                                                          .links = part.links,
                                                          .unit = unit});
  return plug(fabric, function, std::move(device));
}

Result<void> plug_dma_engine(fabric::Fabric& fabric, const FunctionDescription& function) {
  auto device = devices::dma_engine::create_dma_engine({.vendor_id = function.vendor_id,
                                                        .device_id = function.device_id,
                                                        .channels = function.dma_engine->channels,
                                                        .segments = function.dma_engine->segments});
  if (!device) return std::unexpected(std::move(device.error()));
  return fabric.plug(function.name, std::move(*device));
}

Result<fabric::Device*> plug_nic(fabric::Fabric& fabric, const FunctionDescription& function) {
  const topology::NicDescription& nic = *function.nic;
  const auto boundary_log2 =
      static_cast<std::uint8_t>(nic.boundary_bytes == 0 ? 0 : std::countr_zero(nic.boundary_bytes));
  auto device = devices::nic::create_nic({.vendor_id = function.vendor_id,
                                          .device_id = function.device_id,
                                          .pairs = nic.pairs,
                                          .segments = nic.segments,
                                          .address_bits = nic.address_bits,
                                          .boundary_log2 = boundary_log2,
                                          .keys = nic.keys});
  return plug(fabric, function, std::move(device));
}

Result<void> join_wires(const Description& description, const Models& models) {
  for (const topology::WireDescription& wire : description.wires)
    if (auto joined = devices::nic::join(*models.at(wire.first), *models.at(wire.second)); !joined) return joined;
  return {};
}

Result<void> link_devices(const Description& description, const Models& models) {
  for (const topology::DeviceLinkDescription& link : description.device_links)
    if (auto linked = devices::accelerator::connect({*models.at(link.first.accelerator), link.first.port},
                                                    {*models.at(link.second.accelerator), link.second.port});
        !linked)
      return linked;
  return {};
}

std::vector<DeviceLinkInfo> device_links_of(const fabric::Fabric& fabric, const Description& description) {
  std::vector<DeviceLinkInfo> links;
  for (const topology::DeviceLinkDescription& link : description.device_links) {
    const auto first = fabric.find(link.first.accelerator);
    const auto second = fabric.find(link.second.accelerator);
    if (first && second)
      links.push_back({.first = {*first, link.first.port},
                       .second = {*second, link.second.port},
                       .megabytes_per_second = link.megabytes_per_second});
  }
  return links;
}

// Whatever drives it: `Parts` is what its bring_up() takes.
template <class Parts>
Result<void> bring_up_as(fabric::Fabric& fabric, DriveUnit& unit) {
  auto function = fabric.function(unit.bdf);
  if (!function) return std::unexpected(std::move(function.error()));
  return machine::bring_up(unit,
                           Parts{.function = std::move(*function), .domain = fabric.domain(unit.bdf), .options = {}});
}

Result<void> bring_up(fabric::Fabric& fabric, DriveUnit& unit, fabric::Device& model) {
  auto function = fabric.function(unit.bdf);
  if (!function) return std::unexpected(std::move(function.error()));
  unit.medium = devices::nvme::medium_of(model, kFirstNamespace);
  const auto reserve = [&model](std::uint64_t offset, std::uint64_t bytes) {
    return devices::nvme::reserve(model, kFirstNamespace, offset, bytes);
  };
  return machine::bring_up(
      unit,
      NvmeDrive{
          .function = std::move(*function), .domain = fabric.domain(unit.bdf), .reserve = reserve, .options = {}});
}

// A device that can't be brought up stays, with its error: the others work on.
std::vector<std::unique_ptr<DriveUnit>> bring_up_units(fabric::Fabric& fabric, const Description& description,
                                                       const Models& models, TopologyParts& parts) {
  std::vector<std::unique_ptr<DriveUnit>> drives;
  for (const FunctionDescription& function : description.functions) {
    if (!function.drive && !function.accelerator && !function.dma_engine && !function.nic) continue;
    const auto bdf = fabric.find(function.name);
    if (!bdf) continue;
    auto& unit = drives.emplace_back(std::make_unique<DriveUnit>());
    unit->name = function.name;
    unit->bdf = *bdf;
    auto up = function.drive         ? bring_up(fabric, *unit, *models.at(unit->name))
              : function.accelerator ? bring_up_as<AcceleratorParts>(fabric, *unit)
              : function.nic         ? bring_up_as<NicParts>(fabric, *unit)
                                     : bring_up_as<DmaEngineParts>(fabric, *unit);
    if (!up) unit->trouble = std::move(up.error());
    const auto info = std::ranges::find(parts.functions, *bdf, &FunctionInfo::bdf);
    if (info != parts.functions.end() && !unit->trouble) info->controller_memory = unit->controller_memory;
  }
  return drives;
}

}  // namespace

Result<std::shared_ptr<State>> open_software(const Description& description, const MachineOptions& options) {
  if (auto checked = check_attachments(description, options); !checked)
    return std::unexpected(std::move(checked.error()));
  auto fabric = fabric::Fabric::create(description, fabric_options(options));
  if (!fabric) return std::unexpected(std::move(fabric.error()));
  Models models;
  std::uint64_t accelerators = 0;
  for (const FunctionDescription& function : description.functions) {
    Result<void> plugged;
    if (function.drive) {
      auto model = plug_drive(**fabric, function, options);
      if (!model) return std::unexpected(std::move(model.error()));
      models.emplace(function.name, *model);
    } else if (function.accelerator) {
      auto model = plug_accelerator(**fabric, function, ++accelerators);
      if (!model) return std::unexpected(std::move(model.error()));
      models.emplace(function.name, *model);
    } else if (function.nic) {
      auto model = plug_nic(**fabric, function);
      if (!model) return std::unexpected(std::move(model.error()));
      models.emplace(function.name, *model);
    } else if (function.dma_engine) {
      plugged = plug_dma_engine(**fabric, function);
    }
    if (!plugged) return std::unexpected(std::move(plugged.error()));
  }
  if (auto linked = link_devices(description, models); !linked) return std::unexpected(std::move(linked.error()));
  if (auto joined = join_wires(description, models); !joined) return std::unexpected(std::move(joined.error()));
  if (auto enumerated = (*fabric)->enumerate(); !enumerated) return std::unexpected(std::move(enumerated.error()));
  TopologyParts parts = (*fabric)->topology();
  if (options.cpu) parts.cpu = *options.cpu;
  parts.device_links = device_links_of(**fabric, description);
  auto drives = bring_up_units(**fabric, description, models, parts);
  auto topology = Topology::build(std::move(parts));
  if (!topology) return std::unexpected(std::move(topology.error()));
  auto backend = std::make_unique<SoftwareBackend>(std::move(*fabric), std::move(models), description.device_links,
                                                   options.threaded);
  auto state = std::make_shared<State>(description.name, std::move(*topology), std::move(backend), std::move(drives));
  if (auto connected = state->connect(); !connected) return std::unexpected(std::move(connected.error()));
  return state;
}

}  // namespace barter::machine
