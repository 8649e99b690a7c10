#include "drivers/nvme/commands/identify.h"

#include <concepts>
#include <cstring>

#include <fmt/format.h>

namespace barter::drivers::nvme {
namespace {

// Sizes of blocks that the driver takes: from the specification's least to 64 KiB.
constexpr std::uint32_t kMinBlockLog2 = 9;
constexpr std::uint32_t kMaxBlockLog2 = 16;
// No namespace is larger than this: byte offsets stay within 63 bits, so that nothing overflows further up.
constexpr std::uint32_t kMaxNamespaceLog2 = 62;
constexpr std::uint32_t kMaxFormats = 64;

template <std::unsigned_integral T>
T load(std::span<const std::byte> bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.subspan(at, sizeof(T)).data(), sizeof(T));
  return value;
}

// Identify strings are ASCII, padded with spaces (section 1.4.3). What a device puts there ends up on terminals.
std::string load_text(std::span<const std::byte> bytes, std::size_t at, std::size_t size) {
  std::string text;
  for (std::byte byte : bytes.subspan(at, size)) {
    const auto character = static_cast<unsigned char>(byte);
    if (character == 0) break;
    text += character >= 0x20 && character < 0x7f ? static_cast<char>(character) : '?';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text.substr(std::min(text.find_first_not_of(' '), text.size()));
}

std::unexpected<std::string> too_short(std::size_t size) {
  return std::unexpected(fmt::format("the structure has {} bytes and not {}", size, kIdentifyBytes));
}

// The low half is the size that must be used, the high half the largest that may be.
bool takes_entry_size(std::uint8_t sizes, std::uint32_t log2) { return (sizes & 0xfu) <= log2 && log2 <= sizes >> 4u; }

}  // namespace

std::expected<ControllerIdentity, std::string> parse_controller(std::span<const std::byte> bytes) {
  using namespace controller_offset;
  if (bytes.size() < kIdentifyBytes) return too_short(bytes.size());
  ControllerIdentity identity{.serial = load_text(bytes, kSerial, 20),
                              .model = load_text(bytes, kModel, 40),
                              .firmware = load_text(bytes, kFirmware, 8),
                              .max_transfer_log2_pages = load<std::uint8_t>(bytes, kMaxTransferLog2Pages),
                              .shutdown_latency_us = load<std::uint32_t>(bytes, kShutdownLatencyUs),
                              .namespaces = load<std::uint32_t>(bytes, kNamespaces)};
  const auto submission_sizes = load<std::uint8_t>(bytes, kSubmissionEntrySizes);
  const auto completion_sizes = load<std::uint8_t>(bytes, kCompletionEntrySizes);
  if (!takes_entry_size(submission_sizes, kSubmissionEntryLog2) ||
      !takes_entry_size(completion_sizes, kCompletionEntryLog2))
    return std::unexpected(
        fmt::format("it wants queue entries of other sizes than 64 and 16 bytes (SQES {:#04x}, CQES {:#04x})",
                    submission_sizes, completion_sizes));
  switch (load<std::uint32_t>(bytes, kSglSupport) & 3) {
    case 1:
      identity.sgl = SglSupport::any_alignment;
      break;
    case 2:
      identity.sgl = SglSupport::dword_alignment;
      break;
    default:
      identity.sgl = SglSupport::none;
  }
  return identity;
}

std::expected<std::vector<std::uint32_t>, std::string> parse_active_namespaces(std::span<const std::byte> bytes,
                                                                               std::uint32_t after) {
  if (bytes.size() < kIdentifyBytes) return too_short(bytes.size());
  std::vector<std::uint32_t> ids;
  for (std::size_t index = 0; index < kIdentifyListEntries; ++index) {
    const auto id = load<std::uint32_t>(bytes, index * sizeof(std::uint32_t));
    if (id == 0) break;
    // Ids from FFFFFFFEh on name no namespace (section 3.2.1). Ascending order also keeps the walk through the list
    // finite.
    if (id <= after || id >= 0xfffffffe)
      return std::unexpected(fmt::format("entry {} of the namespace list is {:#x}, after {:#x}", index, id, after));
    ids.push_back(id);
    after = id;
  }
  return ids;
}

std::uint8_t parse_command_set(std::span<const std::byte> bytes) {
  std::size_t at = 0;
  while (at + descriptor::kHeaderBytes < bytes.size()) {
    const auto type = load<std::uint8_t>(bytes, at);
    const std::size_t length = load<std::uint8_t>(bytes, at + 1);
    if (length == 0) break;
    if (type == descriptor::kCommandSet) return load<std::uint8_t>(bytes, at + descriptor::kHeaderBytes);
    at += descriptor::kHeaderBytes + length;
  }
  return kNvmCommandSet;
}

std::expected<NamespaceFacts, std::string> parse_namespace(std::span<const std::byte> bytes, std::uint32_t id) {
  using namespace namespace_offset;
  if (bytes.size() < kIdentifyBytes) return too_short(bytes.size());
  const auto formatted = FormattedAs::from(load<std::uint8_t>(bytes, kFormattedAs));
  const auto formats = load<std::uint8_t>(bytes, kFormats0based) + 1u;
  // The high bits of the index mean something only where there are more formats than the low bits can name.
  const std::uint32_t index =
      (formats > 16 ? formatted.get(FormattedAs::index_high) * 16u : 0u) + formatted.get(FormattedAs::index_low);
  if (formats > kMaxFormats || index >= formats)
    return std::unexpected(fmt::format("it is formatted as format {} of {}", index, formats));

  const auto format = BlockFormat::from(load<std::uint32_t>(bytes, kFirstFormat + index * sizeof(std::uint32_t)));
  const std::uint32_t block_log2 = format.get(BlockFormat::block_log2);
  if (block_log2 < kMinBlockLog2 || block_log2 > kMaxBlockLog2)
    return std::unexpected(fmt::format("its blocks have 2^{} bytes, and the driver takes 2^{} to 2^{}", block_log2,
                                       kMinBlockLog2, kMaxBlockLog2));
  if (const auto metadata = format.get(BlockFormat::metadata_bytes); metadata != 0)
    return std::unexpected(fmt::format("its blocks carry {} bytes of metadata, which the driver can't move", metadata));

  const auto blocks = load<std::uint64_t>(bytes, kBlocks);
  if (blocks == 0) return std::unexpected("it has no blocks");
  if (blocks > std::uint64_t{1} << (kMaxNamespaceLog2 - block_log2))
    return std::unexpected(fmt::format("its size of {:#x} blocks of {} bytes can't be", blocks, 1u << block_log2));
  return NamespaceFacts{.id = id,
                        .blocks = blocks,
                        .block_bytes = 1u << block_log2,
                        .write_protected = (load<std::uint8_t>(bytes, kAttributes) & 1) != 0};
}

}  // namespace barter::drivers::nvme
