#include "machine/state.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "machine/device_links.h"
#include "machine/page_mirror.h"
#include "pci/class_code.h"
#include "peer/host_pages.h"

namespace barter::machine {

Result<void> Backend::pull_out(const DriveUnit& unit) {
  return fail({.code = ErrorCode::unsupported,
               .doing = "pulling out",
               .subject = unit.name,
               .why = "this machine is no software machine, and has its slots elsewhere"});
}

Result<void> Backend::reset(const DriveUnit& unit) {
  return fail({.code = ErrorCode::unsupported,
               .doing = "resetting",
               .subject = unit.name,
               .why = "this machine is no software machine, and Linux resets its devices"});
}

Result<void> Backend::set_device_link(const DriveUnit& one, const DriveUnit& other, bool) {
  return fail({.code = ErrorCode::unsupported,
               .doing = "breaking the link between",
               .subject = fmt::format("{} and {}", one.name, other.name),
               .why = "this machine is no software machine, or has no such link"});
}

namespace {

// What there is to know of a device when it joins the machine.
void tell(const DriveUnit& unit) {
  if (!base::log::is_wanted(base::log::Level::info)) return;
  if (unit.trouble)
    return base::log::info("{} at {} was not brought up: {}", unit.name, unit.bdf.to_string(), unit.trouble->message());
  std::string memory = unit.exporter        ? fmt::format("shares {} bytes of memory", unit.exporter->size_bytes())
                       : unit.why_no_memory ? "shares no memory (" + unit.why_no_memory->message() + ")"
                                            : "shares no memory";
  if (unit.why_not_direct) memory += "; reaches no memory of others (" + unit.why_not_direct->message() + ")";
  base::log::info("{} at {} is up: {} bytes, {}", unit.name, unit.bdf.to_string(), unit.size_bytes, memory);
}

}  // namespace

State::State(std::string name, Topology topology, std::string why_nothing_moves)
    : name_(std::move(name)), topology_(std::move(topology)), why_nothing_moves_(std::move(why_nothing_moves)) {}

State::State(std::string name, Topology topology, std::unique_ptr<Backend> backend,
             std::vector<std::unique_ptr<DriveUnit>> drives)
    : name_(std::move(name)),
      topology_(std::move(topology)),
      backend_(std::move(backend)),
      drives_(std::move(drives)),
      exchange_(std::make_shared<peer::Exchange>(backend_->clock(), [this](Bdf client, Bdf provider) {
        // Whatever the way, a request to host memory goes to the host bridge.
        if (provider == peer::kHostMemory)
          return peer::RouteAnswer{.read = Route::through_host_bridge, .write = Route::through_host_bridge};
        return backend_->route(topology_, client, provider);
      })) {}

State::~State() = default;

Result<void> State::check_works(const char* doing) const {
  if (backend_) return {};
  return fail({.code = ErrorCode::unsupported, .doing = doing, .subject = name_, .why = why_nothing_moves_});
}

Result<void> State::connect() {
  for (const auto& drive : drives_)
    if (auto connected = connect(*drive); !connected) return connected;
  links_ = DeviceLinks::find(drives_);
  return links_ ? exchange_->add(*links_) : Result<void>{};
}

Result<void> State::connect(const DriveUnit& drive) {
  tell(drive);
  // The first of the parts of a drive brings in what they share.
  const auto is_first = [&](auto member) {
    const auto first =
        std::ranges::find_if(drives_, [&](const auto& other) { return (*other).*member == drive.*member; });
    return first != drives_.end() && first->get() == &drive;
  };
  if (drive.exporter && is_first(&DriveUnit::exporter))
    if (auto added = exchange_->add(*drive.exporter); !added) return added;
  if (drive.importer && is_first(&DriveUnit::importer))
    if (auto added = exchange_->add(*drive.importer); !added) return added;
  if (drive.mirror)
    if (auto added = exchange_->add(drive.mirror->importer()); !added) return added;
  backend_->joined(drive, exchange_);
  return {};
}

Result<RevokeReport> State::unplug(DriveUnit& unit, RevokeOptions options) {
  if (auto out = backend_->pull_out(unit); !out) return std::unexpected(std::move(out.error()));
  return take_out(unit, options, "it was pulled out of its slot");
}

Result<RevokeReport> State::unbind(DriveUnit& unit, RevokeOptions options) {
  return take_out(unit, options, "its driver has given it up");
}

// Both halves, whatever becomes of the first; the first error is the one that is told.
Result<RevokeReport> State::take_out(DriveUnit& unit, RevokeOptions options, std::string why) {
  Result<RevokeReport> report = RevokeReport{};
  const auto add = [&](Result<RevokeReport> more) {
    if (!more) {
      if (report) report = std::move(more);
      return;
    }
    if (!report) return;
    report->mappings += more->mappings;
    report->late.insert(report->late.end(), more->late.begin(), more->late.end());
  };
  if (unit.importer) add(exchange_->remove(*unit.importer, options));
  if (unit.mirror) add(exchange_->remove(unit.mirror->importer(), options));
  if (unit.exporter) add(exchange_->withdraw(*unit.exporter, options));
  base::log::info("{} at {} has left the machine: {}", unit.name, unit.bdf.to_string(), why);
  for (const auto& part : drives_)
    if (part->bdf == unit.bdf)
      part->trouble = Error{.code = ErrorCode::device_gone, .doing = "using", .subject = part->name, .why = why};
  return report;
}

// Files change: what was found at the last look may be longer by now, or gone.
Result<void> State::look_again(DriveUnit& drive) {
  auto now = backend_->bring_up(drive.name);
  if (!now) return std::unexpected(std::move(now.error()));
  if (!*now) return {};
  const bool known = (*now)->importer == drive.importer;
  drive = std::move(**now);
  return known ? Result<void>{} : connect(drive);
}

Result<DriveUnit*> State::find_drive(std::string_view name_or_bdf) {
  if (!backend_)
    return fail({.code = ErrorCode::unsupported,
                 .doing = "opening the drive",
                 .subject = fmt::format("'{}' of {}", name_or_bdf, name_),
                 .why = why_nothing_moves_,
                 .cure = "use a built-in machine or a description: barter copy --help"});
  if (DriveUnit* const unit = find_unit(name_or_bdf); unit != nullptr && unit->kind == UnitKind::drive) {
    if (unit->trouble) return fail(*unit->trouble);
    if (unit->is_file)
      if (auto looked = look_again(*unit); !looked) return std::unexpected(std::move(looked.error()));
    return unit;
  }
  auto brought_up = backend_->bring_up(name_or_bdf);
  if (!brought_up) return std::unexpected(std::move(brought_up.error()));
  if (*brought_up) {
    DriveUnit& drive = *drives_.emplace_back(std::move(*brought_up));
    if (auto connected = connect(drive); !connected) return std::unexpected(std::move(connected.error()));
    return &drive;
  }
  return fail(no_drive(name_or_bdf));
}

Error State::no_drive(std::string_view name_or_bdf) const {
  Error error{.code = ErrorCode::not_found,
              .doing = "opening the drive",
              .subject = fmt::format("'{}' of {}", name_or_bdf, name_),
              .why = "there is no such drive"};
  const std::string names = names_of(UnitKind::drive);
  error.cure = names.empty() ? "this machine has no drives" : "its drives are " + names;
  const auto bdf = topology_.resolve(name_or_bdf);
  const FunctionInfo* const function = bdf ? topology_.find(*bdf) : nullptr;
  if (find_unit(name_or_bdf) != nullptr || function != nullptr) {
    const bool is_nvme = function != nullptr && function->class_code && *function->class_code == pci::kClassNvme;
    error.why = is_nvme ? "it is an NVMe controller that has no namespace here" : "it is no drive";
  } else if (const std::string others = backend_->other_names(name_or_bdf); !others.empty()) {
    error.cure += "; " + others;
  }
  return error;
}

DriveUnit* State::find_unit(std::string_view name_or_bdf) const {
  const auto bdf = Bdf::parse(name_or_bdf);
  const auto found = std::ranges::find_if(
      drives_, [&](const auto& unit) { return unit->name == name_or_bdf || (bdf && unit->bdf == *bdf); });
  return found == drives_.end() ? nullptr : found->get();
}

std::string State::names_of(UnitKind kind) const {
  std::string names;
  for (const auto& unit : drives_)
    if (unit->kind == kind) names += (names.empty() ? "" : ", ") + unit->name;
  return names;
}

Result<DriveUnit*> State::find_device(UnitKind kind, std::string_view word, std::string_view name_or_bdf) {
  DriveUnit* const unit = find_unit(name_or_bdf);
  if (unit != nullptr && unit->kind == kind) {
    if (unit->trouble) return fail(*unit->trouble);
    return unit;
  }
  const std::string names = names_of(kind);
  return fail({.code = backend_ ? ErrorCode::not_found : ErrorCode::unsupported,
               .doing = fmt::format("opening the {}", word),
               .subject = fmt::format("'{}' of {}", name_or_bdf, name_),
               .why = backend_ ? fmt::format("there is no {} of this name", word) : why_nothing_moves_,
               .cure = names.empty() ? fmt::format("use a machine that has a {}, such as {}", word,
                                                   kind == UnitKind::nic ? "wired" : "training")
                                     : fmt::format("there is {}", names)});
}

Result<DriveUnit*> State::find_accelerator(std::string_view name_or_bdf) {
  return find_device(UnitKind::accelerator, "accelerator", name_or_bdf);
}

Result<DriveUnit*> State::find_dma_engine(std::string_view name_or_bdf) {
  return find_device(UnitKind::dma_engine, "DMA engine", name_or_bdf);
}

Result<DriveUnit*> State::find_nic(std::string_view name_or_bdf) {
  return find_device(UnitKind::nic, "NIC", name_or_bdf);
}

Result<DriveUnit*> State::find_provider(std::string_view name_or_bdf) {
  const auto refuse = [&](std::string why, std::string cure) {
    return fail({.code = ErrorCode::unsupported,
                 .doing = "opening the memory of",
                 .subject = fmt::format("'{}' of {}", name_or_bdf, name_),
                 .why = std::move(why),
                 .cure = std::move(cure)});
  };
  DriveUnit* unit = find_unit(name_or_bdf);
  if (unit == nullptr || unit->kind == UnitKind::drive) {
    auto drive = find_drive(name_or_bdf);
    // A function that nobody drives is something else than a name that means nothing.
    if (!drive && drive.error().code == ErrorCode::not_found && topology_.resolve(name_or_bdf))
      return refuse("no driver shares the memory of this function",
                    "use a drive with a controller memory buffer, or an accelerator");
    if (!drive) return drive;
    unit = *drive;
  }
  if (unit->trouble) return fail(*unit->trouble);
  if (unit->exporter) return unit;
  if (unit->why_no_memory) return fail(*unit->why_no_memory);
  if (unit->kind == UnitKind::accelerator)
    return refuse("its driver needs all of the memory that its window shows", "describe it with more memory");
  return refuse(unit->kind == UnitKind::drive ? "the drive has no controller memory buffer that takes data"
                : unit->kind == UnitKind::nic ? "a NIC has no memory of its own"
                                              : "a DMA engine has no memory of its own",
                "");
}

Result<Drive> State::drive(std::string_view name) {
  auto found = find_drive(name);
  if (!found) return std::unexpected(std::move(found.error()));
  return Drive(shared_from_this(), **found);
}

Result<DmaEngine> State::dma_engine(std::string_view name) {
  auto found = find_dma_engine(name);
  if (!found) return std::unexpected(std::move(found.error()));
  return DmaEngine(shared_from_this(), **found);
}

Result<Nic> State::nic(std::string_view name) {
  auto found = find_nic(name);
  if (!found) return std::unexpected(std::move(found.error()));
  return Nic(shared_from_this(), **found);
}

Result<Accelerator> State::accelerator(std::string_view name) {
  auto found = find_accelerator(name);
  if (!found) return std::unexpected(std::move(found.error()));
  return Accelerator(shared_from_this(), **found);
}

Result<Provider> State::provider(std::string_view name) {
  auto found = find_provider(name);
  if (!found) return std::unexpected(std::move(found.error()));
  return Provider(shared_from_this(), **found);
}

Result<Provider> State::nearest_provider(std::span<const Bdf> clients) {
  if (!backend_)
    return fail({.code = ErrorCode::unsupported,
                 .doing = "choosing a provider of",
                 .subject = name_,
                 .why = why_nothing_moves_});
  const auto choice = exchange_->nearest_provider(clients);
  if (!choice) return std::unexpected(choice.error());
  return provider(choice->exporter->function().to_string());
}

}  // namespace barter::machine
