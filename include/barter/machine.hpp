// One door to every kind of machine: this computer, a captured one, or a PCIe machine in software.
//
//   auto machine = barter::Machine::open("two-nvme");
//   if (!machine) return barter::print(machine.error());
//   auto drive = machine->drive("nvme0");
//   auto provider = machine->nearest_provider({*drive, *machine->drive("nvme1")});  // or why there is none
//   auto staging = provider->allocate(32_MiB);
//
// A name means, in this order:
//
//   host           this computer
//   NAME           a built-in machine (Machine::builtin_names)
//   FILE.toml      a machine description (docs/machine-format.md)
//   lspci:FILE     what lspci printed: -vvv or -nnvvv text, or -xxxx hex
//   sysfs:DIR      a captured sysfs tree
//   hwloc:FILE     what lstopo wrote as XML
//
// Captured machines answer questions about their topology; nothing can be moved on them. Machine and what it gives are
// handles: they can be copied, and each keeps the machine alive. Until it says otherwise below, one thread at a time
// uses a machine and what came from it; revocation (memory.hpp) is the exception, on machines that run threaded.
#pragma once
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <barter/address.hpp>
#include <barter/memory.hpp>
#include <barter/result.hpp>
#include <barter/topology.hpp>

namespace barter {

namespace machine {
class State;
struct DriveUnit;
}  // namespace machine

// How often things go wrong on a software machine, as probabilities. All zero: never.
struct Faults {
  double surprise_removal = 0;  // for each step of a device
  double lost_completion = 0;   // for each request a device makes
  double poisoned_completion = 0;
  double late_completion = 0;
  double link_down = 0;  // for each step of a device
};

// Puts a file into a drive of a software machine, as its first namespace.
struct Attachment {
  std::string drive;
  std::filesystem::path file;
};

struct MachineOptions {
  std::uint64_t seed = 1;  // software machines: the same seed, the same run
  Faults faults;           // software machines only
  bool threaded = false;   // software machines: a thread for each device instead of turns in seeded order
  std::vector<Attachment> attach;
  std::optional<CpuInfo> cpu;  // instead of what the source says
};

// What the handles below have in common: which function of the machine it is.
class DeviceHandle {
 public:
  [[nodiscard]] Bdf bdf() const;
  [[nodiscard]] const std::string& name() const;
  operator Bdf() const { return bdf(); }

  // For the library's own rooms.
  [[nodiscard]] const std::shared_ptr<machine::State>& machine_state() const { return machine_; }
  [[nodiscard]] machine::DriveUnit& unit() const { return *unit_; }

 protected:
  friend class machine::State;
  DeviceHandle(std::shared_ptr<machine::State> machine, machine::DriveUnit& unit)
      : machine_(std::move(machine)), unit_(&unit) {}
  std::shared_ptr<machine::State> machine_;
  machine::DriveUnit* unit_;
};

// Device memory that can be shared: a drive's controller memory buffer, or what the window of an accelerator shows.
class Provider : public DeviceHandle {
 public:
  [[nodiscard]] std::uint64_t size_bytes() const;
  // From now on every request to map this memory is put to `consent`; without one, all are answered "direct".
  void on_request(Consent consent);
  // From now on told of everything granted that is gone again: see Unmapped.
  void on_unmap(Unmapped told);
  // The most bytes that importers may hold pinned at a time (Hold::pinned), each mapping counted with its whole pages. 0:
  // nothing is pinned; none: as at first, no limit. What is pinned already stays so.
  void limit_pins(std::optional<std::uint64_t> bytes);
  [[nodiscard]] Result<Region> allocate(std::uint64_t bytes, std::uint64_t alignment = 4096);
  // The owner takes back all that was handed out, for good: every region is revoked as by Region::revoke.
  [[nodiscard]] Result<RevokeReport> take_back(RevokeOptions options = {});

 private:
  using DeviceHandle::DeviceHandle;
};

// A drive: bytes to copy from and to, and a function whose DMA can reach other devices' memory.
class Drive : public DeviceHandle {
 public:
  [[nodiscard]] std::uint64_t size_bytes() const;  // of its first namespace
  [[nodiscard]] std::uint32_t block_bytes() const;
  [[nodiscard]] Result<Provider> memory() const;  // its controller memory buffer, if it has one
  // The right for this drive's DMA to reach a region: asks the owner, after the verdict.
  [[nodiscard]] Result<Mapping> map(const Region& region, MapOptions options = {}) const;
  // The same where the owner may decide differently on parts: all parts in order, each mapped or with the owner's answer why
  // not. An error if something else is in the way; then nothing is mapped.
  [[nodiscard]] Result<std::vector<MappedPart>> map_parts(const Region& region, MapOptions options = {}) const;

 private:
  using DeviceHandle::DeviceHandle;
};

// A function that moves bytes from one place to another and holds none itself (docs/devices/dma_engine.md). What it does is in
// io.hpp.
class DmaEngine : public DeviceHandle {
 public:
  // The right for this engine's DMA to reach a region: asks the owner, after the verdict.
  [[nodiscard]] Result<Mapping> map(const Region& region, MapOptions options = {}) const;

 private:
  using DeviceHandle::DeviceHandle;
};

// A network interface: messages and remote memory accesses, by one wire to another one (docs/devices/nic.md). What it does is in nic.hpp.
class Nic : public DeviceHandle {
 public:
  // The right for this NIC's DMA to reach a region: asks the owner, after the verdict.
  [[nodiscard]] Result<Mapping> map(const Region& region, MapOptions options = {}) const;

 private:
  using DeviceHandle::DeviceHandle;
};

// A device that computes, with memory of its own, which is a Provider by the same name. What it computes is in compute.hpp; what
// its engines copy, by PCIe or by a link, in copy.hpp (copy_memory).
class Accelerator : public DeviceHandle {
 public:
  // What its window shows of its memory; an error if its driver needs all of that.
  [[nodiscard]] Result<Provider> memory() const;
  // The right for its engines to reach a region of another device: asks the owner, after the verdict. By a link where one joins
  // the two and is up, else by PCIe.
  [[nodiscard]] Result<Mapping> map(const Region& region, MapOptions options = {}) const;

 private:
  using DeviceHandle::DeviceHandle;
};

class Machine {
 public:
  [[nodiscard]] static Result<Machine> open(std::string_view name, const MachineOptions& options = {});
  [[nodiscard]] static std::vector<std::string> builtin_names();

  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] const Topology& topology() const;
  [[nodiscard]] std::vector<std::string> drive_names() const;
  [[nodiscard]] std::vector<std::string> accelerator_names() const;
  [[nodiscard]] std::vector<std::string> dma_engine_names() const;
  [[nodiscard]] std::vector<std::string> nic_names() const;
  // By its name or its BDF.
  [[nodiscard]] Result<Drive> drive(std::string_view name) const;
  [[nodiscard]] Result<Accelerator> accelerator(std::string_view name) const;
  [[nodiscard]] Result<DmaEngine> dma_engine(std::string_view name) const;
  [[nodiscard]] Result<Nic> nic(std::string_view name) const;
  // Device memory by its function's name or BDF.
  [[nodiscard]] Result<Provider> provider(std::string_view name) const;
  // The memory with the shortest way to all of these functions; the error says of each candidate why it won't do.
  [[nodiscard]] Result<Provider> nearest_provider(std::span<const Bdf> clients) const;
  [[nodiscard]] Result<Provider> nearest_provider(std::initializer_list<Bdf> clients) const {
    return nearest_provider(std::span(clients.begin(), clients.size()));
  }

  // What the interconnects beside PCIe say of the two now, one answer each; none on a machine that has no such thing. PCIe's own
  // answer is topology().verdict().
  [[nodiscard]] std::vector<InterconnectAnswer> interconnects(VerdictQuery query) const;
  // Of all that join the two: what a mapping would be made by now. On a machine where nothing can be moved, Linux's rule.
  [[nodiscard]] RouteChoice best_route(VerdictQuery query) const;

  // For the library's own rooms.
  [[nodiscard]] const std::shared_ptr<machine::State>& state() const { return state_; }

 private:
  explicit Machine(std::shared_ptr<machine::State> state) : state_(std::move(state)) {}
  std::shared_ptr<machine::State> state_;
};

}  // namespace barter
