// Identify (NVMe base 2.0, section 5.17; NVM command set 1.0, section 4.1.5) and what it answers, read from raw bytes
// that a device wrote: every value is checked before it is believed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "drivers/nvme/commands/entry.h"
#include "drivers/nvme/controller.h"

namespace barter::drivers::nvme {

inline constexpr std::uint8_t kOpcodeIdentify = 0x06;
inline constexpr std::size_t kIdentifyBytes = 4096;
inline constexpr std::size_t kIdentifyListEntries = kIdentifyBytes / sizeof(std::uint32_t);

// CNS: what is asked for.
inline constexpr std::uint32_t kIdentifyNamespace = 0x00;
inline constexpr std::uint32_t kIdentifyController = 0x01;
inline constexpr std::uint32_t kIdentifyActiveNamespaces = 0x02;
inline constexpr std::uint32_t kIdentifyDescriptors = 0x03;

struct IdentifyDword10 : base::Register<IdentifyDword10, 40, std::uint32_t> {
  static constexpr Bits<31, 16> controller_id{};
  static constexpr Bits<7, 0> structure{};
};

[[nodiscard]] inline SubmissionEntry identify(std::uint32_t structure, std::uint32_t namespace_id) {
  auto entry = SubmissionEntry::with_opcode(kOpcodeIdentify);
  entry.namespace_id = namespace_id;
  entry.dword10 = IdentifyDword10{}.with(IdentifyDword10::structure, structure).raw;
  return entry;
}

// Offsets in the Identify Controller data structure (base 2.0, figure 275).
namespace controller_offset {
inline constexpr std::size_t kSerial = 4;     // 20 characters
inline constexpr std::size_t kModel = 24;     // 40 characters
inline constexpr std::size_t kFirmware = 64;  // 8 characters
inline constexpr std::size_t kMaxTransferLog2Pages = 77;
inline constexpr std::size_t kShutdownLatencyUs = 88;  // RTD3E
inline constexpr std::size_t kSubmissionEntrySizes = 512;
inline constexpr std::size_t kCompletionEntrySizes = 513;
inline constexpr std::size_t kNamespaces = 516;
inline constexpr std::size_t kSglSupport = 536;
}  // namespace controller_offset

// Offsets in the Identify Namespace data structure (NVM command set 1.0, figure 97).
namespace namespace_offset {
inline constexpr std::size_t kBlocks = 0;          // NSZE
inline constexpr std::size_t kFormats0based = 25;  // NLBAF
inline constexpr std::size_t kFormattedAs = 26;    // FLBAS
inline constexpr std::size_t kAttributes = 99;     // NSATTR
inline constexpr std::size_t kFirstFormat = 128;   // LBAF0, four bytes each
}  // namespace namespace_offset

struct FormattedAs : base::Register<FormattedAs, 0, std::uint8_t, base::RegisterAccess::read_only> {
  static constexpr Bits<6, 5> index_high{};
  static constexpr Bit<4> metadata_with_data{};
  static constexpr Bits<3, 0> index_low{};
};
struct BlockFormat : base::Register<BlockFormat, 0, std::uint32_t, base::RegisterAccess::read_only> {
  static constexpr Bits<25, 24> relative_performance{};
  static constexpr Bits<23, 16> block_log2{};
  static constexpr Bits<15, 0> metadata_bytes{};
};

// The Namespace Identification Descriptor list (base 2.0, figure 277): descriptors of a type, a length, two reserved bytes and
// that many bytes more; a length of 0 ends it. The type that tells the I/O command set holds its number (section 3.1.3.5.1).
namespace descriptor {
inline constexpr std::uint8_t kCommandSet = 4;  // NIDT
inline constexpr std::size_t kHeaderBytes = 4;
}  // namespace descriptor
inline constexpr std::uint8_t kNvmCommandSet = 0;

enum class SglSupport : std::uint8_t { none, any_alignment, dword_alignment };

struct ControllerIdentity {
  std::string serial, model, firmware;        // trimmed, printable ASCII; anything else became '?'
  std::uint32_t max_transfer_log2_pages = 0;  // in units of CAP.MPSMIN; 0: no limit
  std::uint32_t shutdown_latency_us = 0;      // 0: not reported
  std::uint32_t namespaces = 0;               // the highest namespace id is at most this
  SglSupport sgl = SglSupport::none;
};

// Each parser takes the structure's bytes as the device wrote them, any number of them, and says what is wrong with
// them.
[[nodiscard]] std::expected<ControllerIdentity, std::string> parse_controller(std::span<const std::byte> bytes);
// The ids in one page of the list, in the order of the page: ascending, above `after`, up to the first zero.
[[nodiscard]] std::expected<std::vector<std::uint32_t>, std::string> parse_active_namespaces(
    std::span<const std::byte> bytes, std::uint32_t after);
// The I/O command set that a namespace speaks. The NVM command set where the list doesn't say, or makes no sense: controllers
// older than NVMe 2.0 know no other.
[[nodiscard]] std::uint8_t parse_command_set(std::span<const std::byte> bytes);
// Why not: words that follow "namespace 3 is left out: ".
[[nodiscard]] std::expected<NamespaceFacts, std::string> parse_namespace(std::span<const std::byte> bytes,
                                                                         std::uint32_t id);

}  // namespace barter::drivers::nvme
