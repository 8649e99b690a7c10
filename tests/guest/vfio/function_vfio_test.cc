// The contract of pci::Function on VFIO, with QEMU's NVMe drive as the device.
#include "function_contract.h"
#include "vfio_machine.h"

namespace barter::pci {
namespace {

class OnVfio {
 public:
  static constexpr unsigned kScratchBar = 0;
  // The message address of the last MSI-X vector, which nobody uses: found in the constructor. Registers of the controller
  // won't do, because QEMU's drive keeps them (AQA, ASQ, ACQ) over a function-level reset.
  static inline std::uint64_t kScratchRegister = 0;
  static constexpr unsigned kMemoryBar = 2;  // the controller memory buffer
  static constexpr unsigned kMissingBar = 4;
  static constexpr unsigned kVectors = guest::Engine::kVectors;

  OnVfio() { kScratchRegister = last_vector(*function_); }
  Function& function() { return *function_; }
  Function& other() { return *other_; }
  bool device_writes(DmaAddress to, std::span<std::byte> bytes) { return engine_.writes(to, bytes); }
  bool other_device_writes(DmaAddress to, std::span<std::byte> bytes) { return other_engine_.writes(to, bytes); }
  bool device_reads(DmaAddress from, std::span<std::byte> bytes) { return engine_.reads(from, bytes); }
  void device_interrupts(unsigned vector) { engine_.interrupts(vector); }

 private:
  static std::uint16_t offset(std::uint32_t at) { return static_cast<std::uint16_t>(at); }
  static std::uint64_t last_vector(Function& function) {
    for (std::uint32_t at = *function.read_config(0x34, 1); at != 0; at = *function.read_config(offset(at + 1), 1)) {
      if (*function.read_config(offset(at), 1) != 0x11) continue;
      const std::uint32_t table = *function.read_config(offset(at + 4), 4);
      if ((table & 7) == kScratchBar) return (table & ~7u) + (*function.read_config(offset(at + 2), 2) & 0x7ffu) * 16;
    }
    ADD_FAILURE() << "there is no MSI-X table in BAR 0";
    std::abort();
  }
  static std::unique_ptr<Function> open(linux_os::vfio::Host& host, std::size_t index) {
    auto function = host.open(guest::vfio_functions()[index]);
    if (function) return std::move(*function);
    ADD_FAILURE() << function.error().message();
    std::abort();
  }
  std::shared_ptr<linux_os::vfio::Host> host_ = linux_os::vfio::Host::create();
  std::unique_ptr<Function> function_ = open(*host_, 0);
  std::unique_ptr<Function> other_ = open(*host_, 1);
  guest::Engine engine_{*function_};
  guest::Engine other_engine_{*other_};
};
INSTANTIATE_TYPED_TEST_SUITE_P(Vfio, FunctionContract, OnVfio);

}  // namespace
}  // namespace barter::pci
