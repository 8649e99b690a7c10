// The seam between the software fabric and a device model: what a device offers (config space, registers, memory, steps)
// and what it gets (a Requester, its way onto the bus).
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "barter/address.hpp"
#include "barter/memory.hpp"

namespace barter::fabric {

// How a request ended, as the requester sees it (PCIe 6.0, 2.2.9.1, and what never comes back).
enum class Completion : std::uint8_t {
  successful,
  unsupported_request,  // nobody claims the address, or the way is barred
  completer_abort,      // the completer broke off
  poisoned,             // the data came with EP set: not to be used
  lost,                 // no completion came: the requester's timeout ends it
};

// A BAR that the device asks for. A BAR is registers unless a MemoryWindow covers it.
struct BarRequest {
  std::uint8_t index = 0;
  std::uint64_t size_bytes = 0;  // a power of two, at least 16 for I/O space's sake and 128 by PCIe
  bool is_64bit = true;
  bool is_prefetchable = false;
};

// Plain memory inside a BAR, which peers and the CPU reach at the speed of memcpy.
struct MemoryWindow {
  std::uint8_t bar = 0;
  BarOffset start;
  std::span<std::byte> bytes;
};

// What config space says of the function. The fabric makes the capabilities (power management, MSI-X, PCI Express, ACS)
// with the layout that lspci -F reads without complaint.
struct FunctionIdentity {
  std::uint16_t vendor_id = 0;
  std::uint16_t device_id = 0;
  std::uint16_t subsystem_vendor_id = 0;
  std::uint16_t subsystem_id = 0;
  std::uint32_t class_code = 0;
  std::uint8_t revision = 0;
  std::vector<BarRequest> bars;
  unsigned msix_vectors = 0;  // 0: no MSI-X
  std::uint8_t msix_bar = 0;  // table and pending bits live here; the fabric serves them, the device never sees them
  BarOffset msix_table;
  BarOffset msix_pending;
};

// A device's way onto the bus. Every request is made with the function's own Requester ID, routed by address through
// switches, root complex and IOMMU, and counted. One thread at a time: the one that steps the device.
class Requester {
 public:
  virtual ~Requester() = default;
  // Moves all the bytes or says why not; after an error nothing can be said of the destination's bytes. Any alignment.
  [[nodiscard]] virtual Completion read(DmaAddress from, std::span<std::byte> into) = 0;
  [[nodiscard]] virtual Completion write(DmaAddress to, std::span<const std::byte> from) = 0;

  // The memory itself, for moving data with no copy in between: the longest run from `at` on, of at most `bytes`, that is
  // contiguous memory and may be accessed so. Counts the traffic of the whole run as if it had been moved. `memory` is
  // empty when there is none: then `status` says why, and if it is `successful` the address is registers: use
  // read() or write(). The run is the device's until its next read(), write() or run(), or the end of its step, whichever
  // comes first: whoever takes the memory away waits for that, and not longer (docs/memory-order.md, rule 7).
  struct Run {
    std::span<std::byte> memory;
    Completion status = Completion::successful;
  };
  [[nodiscard]] virtual Run run(DmaAddress at, std::uint64_t bytes, Access access) = 0;

  // From here on any thread.
  // Sends an MSI-X message, if the vector is enabled and not masked; remembers it as pending otherwise.
  virtual void interrupt(unsigned vector) = 0;

  // The device's memory windows have changed (a CMB was enabled, or moved).
  virtual void windows_changed() = 0;

  // Is the function allowed to start requests (Bus Master Enable)?
  [[nodiscard]] virtual bool may_master() const = 0;
  // Where this function's BAR lies now, if it is enabled. For CMB addresses.
  [[nodiscard]] virtual std::optional<BusAddress> bar_address(unsigned index) const = 0;
};

// A device model: one function. In a threaded machine, register accesses come from any thread and step() from one; in a
// stepped one, everything comes from one thread.
class Device {
 public:
  virtual ~Device() = default;

  [[nodiscard]] virtual const FunctionIdentity& identity() const = 0;
  // Called once, before anything else. The requester outlives the device.
  virtual void attach(Requester& requester) = 0;

  // One access to registers of a BAR: 1, 2, 4 or 8 bytes wide, naturally aligned, within the BAR. By the CPU or a peer.
  [[nodiscard]] virtual std::uint64_t read_register(unsigned bar, BarOffset at, unsigned width_bytes) = 0;
  virtual void write_register(unsigned bar, BarOffset at, unsigned width_bytes, std::uint64_t value) = 0;

  // The plain memory that the device shows at present. Called from plug() and from inside windows_changed(), on the
  // thread that calls that, so it must not take a lock that the model holds there.
  [[nodiscard]] virtual std::vector<MemoryWindow> windows() = 0;

  // Does some work, if there is any, and tells whether there was. Bounded, so that the other devices get their turn.
  virtual bool step() = 0;

  // Function-level or conventional reset: everything as after power-on, but what is stored on media.
  virtual void reset() = 0;

  // An access or request that the specification forbids the other side; the strict default is to record it here. A test
  // fails on any, and says which. Text: what was done, where.
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }

 protected:
  void violation(std::string what) {
    if (violations_.size() < kMaxViolations) violations_.push_back(std::move(what));
  }

 private:
  static constexpr std::size_t kMaxViolations = 64;
  std::vector<std::string> violations_;
};

}  // namespace barter::fabric
