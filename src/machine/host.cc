#include "machine/host.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "linux/p2pdma/p2pmem_exporter.h"
#include "machine/kernel_drive.h"
#include "machine/kernel_endpoint.h"
#include "machine/vfio_drives.h"
#include "machine/wire_route.h"
#include "topology/load.h"

namespace barter::machine {
namespace {

namespace fs = std::filesystem;
using linux_os::FilePlace;
using linux_os::PathKind;

// Time, and sleep until one of the kernel's queues has something to tell. The sleep has an end, because there are other things
// to wait for than queues. Drives that our own driver drives ring no bell: where there are any, their queues are looked at all
// the time, and now and then whether the kernel asks for one of them.
class HostClock final : public base::Clock {
 public:
  HostClock(linux_os::CompletionSignal& signal, VfioDrives& vfio) : signal_(signal), vfio_(vfio) {}
  [[nodiscard]] base::TimePoint now() const override { return system_.now(); }
  void idle() override {
    if (vfio_.is_empty()) return signal_.wait(kNap);
    system_.idle();
    if (now() < next_look_.load(std::memory_order_relaxed) || is_looking_.test_and_set(std::memory_order_acquire))
      return;
    vfio_.heed_removal_requests();
    next_look_.store(now() + kBetweenLooks, std::memory_order_relaxed);
    is_looking_.clear(std::memory_order_release);
  }

 private:
  static constexpr Duration kNap = std::chrono::milliseconds(10);
  static constexpr Duration kBetweenLooks = std::chrono::milliseconds(1);

  base::SystemClock system_;
  linux_os::CompletionSignal& signal_;
  VfioDrives& vfio_;
  std::atomic<base::TimePoint> next_look_{};
  std::atomic_flag
      is_looking_;  // a revocation waits with this clock too, on any thread, and from within a look as well
};

// What the drives and files of one function share.
struct FunctionParts {
  std::shared_ptr<linux_os::KernelImporter> importer;
  std::shared_ptr<linux_os::P2pmemExporter> exporter;
  std::optional<Error> why_no_memory;
};

class HostBackend final : public Backend {
 public:
  HostBackend(linux_os::SystemRoots roots, linux_os::CompletionSignal signal, Topology topology)
      : topology_(std::move(topology)),
        paths_{.roots = std::move(roots), .signal = std::move(signal), .explain_refusal = {}} {
    paths_.explain_refusal = [this](Bdf client, const void* address) { return explain_refusal(client, address); };
  }

  [[nodiscard]] base::Clock& clock() override { return clock_; }
  [[nodiscard]] std::optional<HostTraffic> traffic() const override { return std::nullopt; }
  [[nodiscard]] peer::RouteAnswer route(const Topology& topology, Bdf client, Bdf provider) override;
  [[nodiscard]] Result<std::unique_ptr<DriveUnit>> bring_up(std::string_view name) override;
  [[nodiscard]] std::string other_names(std::string_view name) const override;
  void joined(const DriveUnit& drive, const std::weak_ptr<peer::Exchange>& exchange) override {
    vfio_.joined(drive, exchange);
  }
  [[nodiscard]] std::string last_trouble(const DriveUnit&) override { return {}; }

  // The disk of that name, for the list of drives.
  [[nodiscard]] std::unique_ptr<DriveUnit> disk(const std::string& name);

 private:
  [[nodiscard]] Result<std::unique_ptr<DriveUnit>> at_path(std::string name, const fs::path& path);
  [[nodiscard]] FunctionParts& parts_of(Bdf function);
  [[nodiscard]] std::string explain_refusal(Bdf client, const void* address) const;
  [[nodiscard]] std::optional<std::string> first_disk_of(std::string_view controller) const;

  Topology topology_;
  KernelPaths paths_;
  VfioDrives vfio_;
  HostClock clock_{paths_.signal, vfio_};
  std::map<Bdf, FunctionParts> functions_;
};

std::string facts_of(const LinuxAnswer& answer) {
  std::string text;
  for (const Fact& fact : answer.facts)
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", fact.function, fact.says);
  return text;
}

// For a client that the kernel drives, the kernel's rule decides, whatever the hardware could do.
peer::RouteAnswer HostBackend::route(const Topology& topology, Bdf client, Bdf provider) {
  if (vfio_.drives(client)) return wire_route(topology, client, provider);
  const LinuxAnswer answer = topology.verdict({.client = client, .provider = provider}).by_linux;
  const bool leads = answer.route == Route::bus_address || answer.route == Route::through_host_bridge;
  return {.read = answer.route,
          .write = answer.route,
          .distance = answer.distance.value_or(0),
          .why = leads ? std::string() : facts_of(answer)};
}

std::string HostBackend::explain_refusal(Bdf client, const void* address) const {
  for (const auto& [function, parts] : functions_) {
    if (!parts.exporter || !parts.exporter->contains(address)) continue;
    const LinuxAnswer answer = topology_.verdict({.client = client, .provider = function}).by_linux;
    return fmt::format("barter why {} {} says {}: {}", client.to_string(), function.to_string(), name_of(answer.route),
                       facts_of(answer));
  }
  return {};
}

FunctionParts& HostBackend::parts_of(Bdf function) {
  const auto found = functions_.find(function);
  if (found != functions_.end()) return found->second;
  FunctionParts& parts = functions_[function];
  parts.importer = std::make_shared<linux_os::KernelImporter>(function, clock_);
  auto exporter =
      linux_os::P2pmemExporter::open(paths_.roots.sys / "bus" / "pci" / "devices" / function.to_string(), function);
  if (exporter)
    parts.exporter = std::move(*exporter);
  else
    parts.why_no_memory = std::move(exporter.error());
  return parts;
}

// What a unit is apart from the function behind it.
void describe(DriveUnit& unit, const FilePlace& place) {
  unit.size_bytes = place.size_bytes;
  unit.block_bytes = block_bytes_of(place);
  unit.is_file = place.kind != PathKind::block_device;
  unit.not_there = place.not_there;
  if (place.kind == PathKind::block_device) {
    unit.medium = place.device->disk;
    unit.start_in_medium = place.device->start_bytes;
  } else {
    unit.medium = place.kind == PathKind::file ? fmt::format("{} {}", place.file_system.to_string(), place.inode)
                                               : place.path.string();
  }
  if (!place.why_not_direct.empty())
    unit.why_not_direct = Error{.code = ErrorCode::unsupported,
                                .doing = "handing device memory to",
                                .subject = unit.name,
                                .why = place.why_not_direct,
                                .cure = place.cure};
}

Result<std::unique_ptr<DriveUnit>> HostBackend::at_path(std::string name, const fs::path& path) {
  auto place = linux_os::find_place(paths_.roots, path);
  if (!place) return std::unexpected(std::move(place.error()));
  auto unit = std::make_unique<DriveUnit>();
  unit->name = std::move(name);
  describe(*unit, *place);
  std::shared_ptr<linux_os::KernelImporter> importer;
  if (place->device && place->device->function && !unit->why_not_direct) {
    unit->bdf = *place->device->function;
    const FunctionParts& parts = parts_of(unit->bdf);
    importer = parts.importer;
    unit->exporter = parts.exporter;
    unit->why_no_memory = parts.why_no_memory;
  }
  unit->importer = importer;
  unit->driver = std::make_shared<KernelDrive>(paths_, unit->name, std::move(*place), std::move(importer));
  return unit;
}

std::optional<std::string> HostBackend::first_disk_of(std::string_view controller) const {
  const auto names = linux_os::nvme_block_devices(paths_.roots.sys);
  if (!names) return std::nullopt;
  for (const std::string& name : *names) {
    const auto device = linux_os::read_block_device(paths_.roots.sys, name);
    if (device && !device->is_partition() && device->controller == controller) return name;
  }
  return std::nullopt;
}

Result<std::unique_ptr<DriveUnit>> HostBackend::bring_up(std::string_view name) {
  std::string text(name);
  if (name.find('/') != std::string_view::npos) return at_path(text, text);
  if (auto drive = vfio_.bring_up(name); !drive || *drive) return drive;
  std::error_code error;
  if (!name.empty() && fs::exists(paths_.roots.sys / "class" / "block" / text, error))
    return at_path(text, paths_.roots.dev / text);
  if (const auto disk = first_disk_of(name)) return at_path(text, paths_.roots.dev / *disk);
  // As cp takes it, a file of this folder; a file to be made is written with its folder, so that a misspelt drive is no file.
  if (fs::is_regular_file(text, error)) return at_path(text, text);
  return nullptr;
}

std::string HostBackend::other_names(std::string_view name) const {
  return fmt::format("a file that is to be made is named with its folder: ./{}", name);
}

std::unique_ptr<DriveUnit> HostBackend::disk(const std::string& name) {
  auto unit = at_path(name, paths_.roots.dev / name);
  if (unit) return std::move(*unit);
  auto broken = std::make_unique<DriveUnit>();
  broken->name = name;
  broken->trouble = std::move(unit.error());
  return broken;
}

}  // namespace

Result<std::shared_ptr<State>> open_host(const MachineOptions& options, const linux_os::SystemRoots& roots) {
  if (!options.attach.empty())
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "attaching a file to",
                 .subject = fmt::format("{} of host", options.attach.front().drive),
                 .why = "only software machines take files as drives",
                 .cure = "name the file itself: it is copied from and to by its path"});
  auto parts = topology::load_sysfs(roots.sys.string());
  if (!parts) return std::unexpected(std::move(parts.error()));
  if (options.cpu) parts->cpu = *options.cpu;
  auto topology = Topology::build(std::move(*parts));
  if (!topology) return std::unexpected(std::move(topology.error()));
  auto signal = linux_os::CompletionSignal::create();
  if (!signal) return std::unexpected(std::move(signal.error()));
  auto names = linux_os::nvme_block_devices(roots.sys);
  if (!names) return std::unexpected(std::move(names.error()));
  auto backend = std::make_unique<HostBackend>(roots, std::move(*signal), *topology);
  std::vector<std::unique_ptr<DriveUnit>> drives;
  for (const std::string& name : *names) {
    const auto device = linux_os::read_block_device(roots.sys, name);
    if (device && !device->is_partition()) drives.push_back(backend->disk(name));
  }
  auto state = std::make_shared<State>("host", std::move(*topology), std::move(backend), std::move(drives));
  if (auto connected = state->connect(); !connected) return std::unexpected(std::move(connected.error()));
  return state;
}

}  // namespace barter::machine
