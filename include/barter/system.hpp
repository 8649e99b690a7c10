// What is known of the system around the devices: its kernel, and what this user may do.
//
// Everything is read from files, of this computer or of a captured tree, and nothing is asked of the kernel in any other
// way; so a capture with proc, sys and boot in it answers as the computer did.
//
//   auto system = barter::read_system();  // this computer
//   if (system && system->kernel_release) fmt::print("{}\n", *system->kernel_release);
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <barter/address.hpp>
#include <barter/known.hpp>
#include <barter/result.hpp>

namespace barter {

enum class OptionState : std::uint8_t { no, yes, module };

// One option of the kernel's configuration.
struct KernelOption {
  std::string name;  // "CONFIG_PCI_P2PDMA"
  Known<OptionState> state;
  std::string source;  // the file that told
};

// Memory of a device that the kernel gives out to peers (sysfs p2pmem/).
struct PeerMemory {
  std::uint64_t size_bytes = 0;
  std::uint64_t available_bytes = 0;
  bool is_published = false;  // any driver may find and use it
};

// What the kernel has made of a PCI function.
struct FunctionUse {
  Bdf bdf;
  Known<std::string> driver;                      // empty: none drives it
  Known<std::optional<PeerMemory>> peer_memory;   // known without a value: none
  std::vector<std::string> multipath_namespaces;  // of a drive: those behind a multipath device, such as nvme0c0n1
  std::vector<std::string> holders;  // of a drive: what is built on its block devices, such as "dm-0 on nvme0n1"
};

// Of one NUMA node to another as the firmware's SLIT has it: 10 is the node itself.
struct NumaDistance {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint32_t distance = 0;
};

struct SystemFacts {
  std::string root;        // the folder that stands for /, or empty where nothing was read
  bool has_kernel = true;  // false: a software machine, whose devices no kernel drives

  Known<std::string> kernel_release;  // "6.1.0-18-amd64"
  Known<std::string> command_line;    // of the kernel
  std::vector<KernelOption> options;  // those that device memory depends on; empty where has_kernel is false
  Known<bool> nvme_multipath;         // the parameter of nvme_core
  Known<bool> queues_in_cmb;          // use_cmb_sqes, the parameter of nvme
  Known<bool> has_vfio;               // /dev/vfio/vfio
  Known<bool> has_iommufd;            // /dev/iommu
  Known<std::vector<NumaDistance>> numa_distances;
  std::vector<FunctionUse> functions;  // in order of BDF; functions that nothing was read about are missing

  // This user: never known of a capture.
  Known<bool> may_administer;                         // effective CAP_SYS_ADMIN
  Known<bool> may_lock_memory;                        // effective CAP_IPC_LOCK: the limit does not count
  Known<std::optional<std::uint64_t>> memlock_bytes;  // known without a value: no limit

  [[nodiscard]] const FunctionUse* use_of(Bdf bdf) const;
  [[nodiscard]] const KernelOption* option(std::string_view name) const;
};

// `root` is "/", or a folder with proc, sys, boot and lib in it, as far as they were captured. An error only where what is
// there is broken; what is missing is unknown.
[[nodiscard]] Result<SystemFacts> read_system(const std::filesystem::path& root = "/");
// All unknown, for the reason given.
[[nodiscard]] SystemFacts unknown_system(const std::string& why);

}  // namespace barter
