// What all checks look at: the devices that could take part in a transfer, and every pair of them with the routes that the
// rules give it. Worked out once for a machine.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "barter/doctor.hpp"

namespace barter::doctor {

// Pairs are looked at one by one, so there is a limit to the devices. Virtual functions count with their physical one.
inline constexpr std::size_t kMaxDevices = 512;

enum class Role : std::uint8_t { drive, accelerator, network };

// A function that does DMA and may have memory for others.
struct Device {
  const FunctionInfo* function = nullptr;
  Role role = Role::drive;
  std::size_t index = 0;                        // in Topology::functions()
  std::vector<const FunctionInfo*> chain;       // itself and all above it, up to the root bus
  const HostBridgeInfo* host_bridge = nullptr;  // that its root bus belongs to; null where the source tells of none
  [[nodiscard]] bool has_memory() const { return function->has_memory_bar() || !function->bars_read; }
};

// DMA by the client to the provider's memory. Pairs of functions of one device are left out.
struct Pair {
  const Device* client = nullptr;
  const Device* provider = nullptr;
  Route by_linux = Route::unknown;
  std::uint16_t distance = 0;
  // The functions whose ACS counts: on the way, the lowest common one included. Empty: the ways part in the root complex.
  std::vector<const FunctionInfo*> counted;
};

struct Case {
  const Topology& topology;
  const SystemFacts& system;
  std::vector<Device> devices;  // in order of BDF
  std::vector<Pair> pairs;
  std::size_t not_examined = 0;  // devices beyond kMaxDevices

  [[nodiscard]] std::size_t pairs_of(Route route) const;
  // What the topology came from is a copy, a file or this computer: how facts of registers name their source.
  [[nodiscard]] std::string register_source(const FunctionInfo& function, std::string_view reg) const;
  // A file of the system: "/proc/cmdline".
  [[nodiscard]] std::string file(std::string_view name) const;
};
// The topology and the system must outlive it.
[[nodiscard]] Case make_case(const Topology& topology, const SystemFacts& system);

// "nvme0 (0000:03:00.0)", or only the number.
[[nodiscard]] std::string called(const FunctionInfo& function);
// The first few, and how many more.
[[nodiscard]] std::string list_of(const std::vector<std::string>& names);
// "1 pair", "3 pairs".
[[nodiscard]] std::string count_of(std::size_t count, std::string_view noun);
[[nodiscard]] std::string size_text(std::uint64_t bytes);  // "64 MiB"

[[nodiscard]] bool are_one_device(const FunctionInfo& left, const FunctionInfo& right);

}  // namespace barter::doctor
