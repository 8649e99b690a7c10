// What stands behind the public handles of machine.hpp: one open machine.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "barter/machine.hpp"
#include "base/clock.h"
#include "machine/endpoint.h"
#include "peer/exchange.h"

namespace barter::drivers::nvme {
class CmbExporter;
class Controller;
class DriveImporter;
}  // namespace barter::drivers::nvme

namespace barter::machine {

// One drive, brought up. Members are destroyed from the last to the first: what reaches the controller goes before it.
struct DriveUnit {
  DriveUnit();
  ~DriveUnit();
  DriveUnit(const DriveUnit&) = delete;
  DriveUnit& operator=(const DriveUnit&) = delete;

  std::string name;
  Bdf bdf;
  std::optional<Error> trouble;  // why it could not be brought up; then there is nothing below
  std::unique_ptr<drivers::nvme::Controller> controller;
  std::unique_ptr<drivers::nvme::CmbExporter> exporter;  // null: the drive shares no memory
  std::unique_ptr<drivers::nvme::DriveImporter> importer;
};

// Bytes that devices have moved to and from host memory since the machine was opened.
struct HostTraffic {
  std::uint64_t data_bytes = 0;     // written and read
  std::uint64_t control_bytes = 0;  // queues and lists
};

// What only one kind of machine can do. The software machine implements it; so will this computer.
class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual base::Clock& clock() = 0;
  [[nodiscard]] virtual HostTraffic traffic() const = 0;
  [[nodiscard]] virtual peer::RouteAnswer route(const Topology& topology, Bdf client, Bdf provider) = 0;
  // Makes sure that writes to this part of a drive won't fail for want of space.
  [[nodiscard]] virtual Result<void> reserve(const DriveUnit& drive, std::uint64_t offset, std::uint64_t bytes) = 0;
  // What went wrong below a drive since the last call, in words that a completion status has no room for; may be empty.
  [[nodiscard]] virtual std::string last_trouble(const DriveUnit& drive) = 0;
};

class State : public std::enable_shared_from_this<State> {
 public:
  // A machine to look at; nothing can be moved on it, for the reason given.
  State(std::string name, Topology topology, std::string why_nothing_moves);
  // A machine that works.
  State(std::string name, Topology topology, std::unique_ptr<Backend> backend,
        std::vector<std::unique_ptr<DriveUnit>> drives);
  ~State();

  // Makes the drives known to each other. Once, before any handle is given out.
  [[nodiscard]] Result<void> connect();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const Topology& topology() const { return topology_; }
  [[nodiscard]] std::span<const std::unique_ptr<DriveUnit>> drives() const { return drives_; }
  [[nodiscard]] Backend& backend() { return *backend_; }
  [[nodiscard]] peer::Exchange& exchange() { return *exchange_; }

  [[nodiscard]] Result<Drive> drive(std::string_view name);
  [[nodiscard]] Result<Provider> provider(std::string_view name);
  [[nodiscard]] Result<Provider> nearest_provider(std::span<const Bdf> clients);
  [[nodiscard]] Result<DriveUnit*> find_drive(std::string_view name_or_bdf);
  [[nodiscard]] Result<DriveUnit*> find_provider(std::string_view name_or_bdf);
  [[nodiscard]] Result<std::unique_ptr<Endpoint>> open_endpoint(DriveUnit& drive, std::uint32_t capacity);

 private:
  std::string name_;
  Topology topology_;
  std::string why_nothing_moves_;
  // Destroyed from the last to the first: revocation, then drives, then the machine below them.
  std::unique_ptr<Backend> backend_;
  std::vector<std::unique_ptr<DriveUnit>> drives_;
  std::unique_ptr<peer::Exchange> exchange_;
};

}  // namespace barter::machine
