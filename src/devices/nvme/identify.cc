#include "devices/nvme/identify.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/random.h"
#include "devices/nvme/registers.h"

namespace barter::devices::nvme {
namespace {

// A namespace's NGUID: the same for the same serial number and namespace, in every run.
std::array<std::byte, 16> globally_unique_id(const IdentityFacts& facts, std::uint32_t id) {
  std::uint64_t seed = 0xcbf29ce484222325;  // FNV-1a
  for (const char letter : facts.serial) seed = (seed ^ static_cast<std::uint8_t>(letter)) * 0x100000001b3;
  base::Random random(seed ^ id);
  std::array<std::byte, 16> result;
  for (std::byte& each : result) each = static_cast<std::byte>(random.next());
  return result;
}

}  // namespace

void Page::put_text(std::size_t offset, std::size_t width, std::string_view text) {
  std::memset(bytes.data() + offset, ' ', width);
  std::memcpy(bytes.data() + offset, text.data(), std::min(width, text.size()));
}

Page describe_controller(const IdentityFacts& facts, std::uint32_t namespaces) {
  namespace at = identify_controller;
  Page page;
  page.put<std::uint16_t>(at::kVendor, facts.vendor_id);
  page.put<std::uint16_t>(at::kSubsystemVendor, facts.vendor_id);
  page.put_text(at::kSerial, 20, facts.serial);
  page.put_text(at::kModel, 40, "Barter NVMe");
  page.put_text(at::kFirmware, 8, "1");
  page.put<std::uint8_t>(at::kArbitrationBurst, facts.arbitration_burst_log2);
  page.put<std::uint8_t>(at::kMaxTransfer, facts.max_transfer_log2_pages);
  page.put<std::uint32_t>(at::kVersion, Version{}.with(Version::major, 2).raw);
  page.put<std::uint8_t>(at::kControllerType, 1);  // an I/O controller
  page.put<std::uint8_t>(at::kAbortLimit, 3);      // 0's based
  page.put<std::uint8_t>(at::kEventLimit, facts.event_limit_0based);
  page.put<std::uint8_t>(at::kFirmwareUpdates, 0x03);  // one slot, and that read-only
  page.put<std::uint8_t>(at::kLogPages, 0x06);         // commands supported and effects; 32-bit lengths and offsets
  page.put<std::uint8_t>(at::kErrorEntries, facts.error_entries_0based);
  page.put<std::uint16_t>(at::kWarningTemperature, 0x157);   // 343 K, what the specification recommends
  page.put<std::uint16_t>(at::kCriticalTemperature, 0x175);  // 373 K
  page.put<std::uint8_t>(at::kSubmissionEntry, 0x66);        // 64 bytes at least and at most
  page.put<std::uint8_t>(at::kCompletionEntry, 0x44);        // 16 bytes
  page.put<std::uint32_t>(at::kNamespaces, namespaces);
  page.put<std::uint16_t>(at::kIoCommands, 0x000d);                      // Compare, Dataset Management, Write Zeroes
  page.put<std::uint8_t>(at::kWriteCache, 0x07);                         // there is one; Flush takes FFFFFFFFh
  if (facts.takes_sgl) page.put<std::uint32_t>(at::kSgl, 1u << 16 | 1);  // bit buckets; any alignment
  const std::string name = fmt::format("nqn.2014.08.org.nvmexpress:{0:04x}{0:04x}{1:<20}{2:<40}", facts.vendor_id,
                                       facts.serial, "Barter NVMe");
  std::memcpy(page.bytes.data() + at::kQualifiedName, name.data(), std::min<std::size_t>(name.size(), 223));
  page.put<std::uint16_t>(at::kPowerState0, 2500);  // 25 W in hundredths: any number but 0 means "this much at most"
  return page;
}

Page describe_namespace(const IdentityFacts& facts, const Namespace& space) {
  namespace at = identify_namespace;
  Page page;
  page.put<std::uint64_t>(at::kSize, space.blocks);
  page.put<std::uint64_t>(at::kCapacity, space.blocks);
  page.put<std::uint64_t>(at::kUse, space.blocks);
  page.put<std::uint8_t>(at::kDeallocation, 0x01);  // deallocated blocks read as zeros
  page.put<std::uint8_t>(at::kAttributes, space.is_read_only ? 1 : 0);
  page.put(at::kGloballyUnique, globally_unique_id(facts, space.id));
  page.put<std::uint32_t>(at::kFormat0, space.block_log2 << at::kFormatBlockLog2Shift);
  return page;
}

Page list_namespaces(const Namespaces& namespaces, std::uint32_t above) {
  Page page;
  std::size_t offset = 0;
  for (const Namespace& each : namespaces.all()) {
    if (each.id <= above || offset == page.bytes.size()) continue;
    page.put<std::uint32_t>(offset, each.id);
    offset += 4;
  }
  return page;
}

// 5.17.2.3: one descriptor, of type 2 (NGUID) and 16 bytes, then the zeros that end the list.
Page describe_identifiers(const IdentityFacts& facts, const Namespace& space) {
  Page page;
  page.put<std::uint8_t>(0, 2);
  page.put<std::uint8_t>(1, 16);
  page.put(4, globally_unique_id(facts, space.id));
  return page;
}

}  // namespace barter::devices::nvme
