// What the controller says of itself and its namespaces: NVM Express base specification 2.0, section 5.17, and NVM
// command set specification 1.0, section 4.1.5. The numbers are byte offsets into the structures.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "devices/nvme/namespaces.h"

namespace barter::devices::nvme {

// A structure of the specification, as it goes to the host: 4096 bytes, zeros where nothing was put.
struct Page {
  std::array<std::byte, 4096> bytes{};

  template <class T>
  void put(std::size_t offset, T value) {
    std::memcpy(bytes.data() + offset, &value, sizeof(value));
  }
  // ASCII, padded with spaces, as the specification has its strings.
  void put_text(std::size_t offset, std::size_t width, std::string_view text);
};

// CNS, Identify's Controller or Namespace Structure.
enum class IdentifyStructure : std::uint8_t {
  name_space = 0x00,
  controller = 0x01,
  active_namespaces = 0x02,
  namespace_descriptors = 0x03,
};

// 5.17.2.1: Identify Controller.
namespace identify_controller {
inline constexpr std::size_t kVendor = 0;                 // VID
inline constexpr std::size_t kSubsystemVendor = 2;        // SSVID
inline constexpr std::size_t kSerial = 4;                 // SN, 20 bytes
inline constexpr std::size_t kModel = 24;                 // MN, 40 bytes
inline constexpr std::size_t kFirmware = 64;              // FR, 8 bytes
inline constexpr std::size_t kArbitrationBurst = 72;      // RAB
inline constexpr std::size_t kMaxTransfer = 77;           // MDTS
inline constexpr std::size_t kControllerId = 78;          // CNTLID
inline constexpr std::size_t kVersion = 80;               // VER
inline constexpr std::size_t kControllerType = 111;       // CNTRLTYPE
inline constexpr std::size_t kAdminCommands = 256;        // OACS
inline constexpr std::size_t kAbortLimit = 258;           // ACL
inline constexpr std::size_t kEventLimit = 259;           // AERL
inline constexpr std::size_t kFirmwareUpdates = 260;      // FRMW
inline constexpr std::size_t kLogPages = 261;             // LPA
inline constexpr std::size_t kErrorEntries = 262;         // ELPE
inline constexpr std::size_t kWarningTemperature = 266;   // WCTEMP
inline constexpr std::size_t kCriticalTemperature = 268;  // CCTEMP
inline constexpr std::size_t kSubmissionEntry = 512;      // SQES
inline constexpr std::size_t kCompletionEntry = 513;      // CQES
inline constexpr std::size_t kNamespaces = 516;           // NN
inline constexpr std::size_t kIoCommands = 520;           // ONCS
inline constexpr std::size_t kWriteCache = 525;           // VWC
inline constexpr std::size_t kSgl = 536;                  // SGLS
inline constexpr std::size_t kQualifiedName = 768;        // SUBNQN, 256 bytes
inline constexpr std::size_t kPowerState0 = 2048;         // PSD0: MP in its first two bytes
}  // namespace identify_controller

// NVM command set 1.0, 4.1.5.1: Identify Namespace.
namespace identify_namespace {
inline constexpr std::size_t kSize = 0;                // NSZE
inline constexpr std::size_t kCapacity = 8;            // NCAP
inline constexpr std::size_t kUse = 16;                // NUSE
inline constexpr std::size_t kDeallocation = 33;       // DLFEAT
inline constexpr std::size_t kAttributes = 99;         // NSATTR
inline constexpr std::size_t kGloballyUnique = 104;    // NGUID, 16 bytes
inline constexpr std::size_t kFormat0 = 128;           // LBAF0
inline constexpr unsigned kFormatBlockLog2Shift = 16;  // LBADS within it
}  // namespace identify_namespace

struct IdentityFacts {
  std::uint16_t vendor_id = 0;
  std::string serial;
  std::uint8_t max_transfer_log2_pages = 0;  // MDTS, in pages of CAP.MPSMIN
  std::uint8_t event_limit_0based = 0;
  std::uint8_t error_entries_0based = 0;
  std::uint8_t arbitration_burst_log2 = 0;
  bool takes_sgl = true;
};

[[nodiscard]] Page describe_controller(const IdentityFacts& facts, std::uint32_t namespaces);
[[nodiscard]] Page describe_namespace(const IdentityFacts& facts, const Namespace& space);
[[nodiscard]] Page list_namespaces(const Namespaces& namespaces, std::uint32_t above);
[[nodiscard]] Page describe_identifiers(const IdentityFacts& facts, const Namespace& space);

}  // namespace barter::devices::nvme
