#include "drivers/nvme/inventory.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "drivers/nvme/commands/features.h"

namespace barter::drivers::nvme {
namespace {

constexpr std::string_view kIdentifying = "identifying the NVMe drive";

Result<ControllerIdentity> identify_controller(const Device& device, AdminQueue& admin) {
  ControllerIdentity identity;
  auto done = admin.fetch(
      identify(kIdentifyController, 0), kIdentifying, [&](std::span<const std::byte> bytes) -> Result<void> {
        auto parsed = parse_controller(bytes);
        if (!parsed) return fail(device.error(ErrorCode::device_failed, kIdentifying, std::move(parsed.error())));
        identity = std::move(*parsed);
        return {};
      });
  if (!done) return fail(std::move(done.error()));
  return identity;
}

// Controllers older than NVMe 1.1 have no list: there, every id up to NN is asked for.
Result<std::vector<std::uint32_t>> count_up(const ControllerIdentity& identity) {
  std::vector<std::uint32_t> ids(std::min<std::size_t>(identity.namespaces, kMaxNamespaces));
  std::iota(ids.begin(), ids.end(), 1u);
  return ids;
}

Result<std::vector<std::uint32_t>> list_namespaces(const Device& device, AdminQueue& admin,
                                                   const ControllerIdentity& identity) {
  if (device.version.raw < version_number(1, 1)) return count_up(identity);
  std::vector<std::uint32_t> ids;
  // Each page starts above the last id of the one before; a page that isn't full is the last.
  while (ids.size() < kMaxNamespaces) {
    const std::uint32_t after = ids.empty() ? 0 : ids.back();
    const std::size_t before = ids.size();
    auto done =
        admin.fetch(identify(kIdentifyActiveNamespaces, after), kIdentifying,
                    [&](std::span<const std::byte> bytes) -> Result<void> {
                      auto page = parse_active_namespaces(bytes, after);
                      if (!page)
                        return fail(device.error(ErrorCode::device_failed, kIdentifying, std::move(page.error())));
                      ids.insert(ids.end(), page->begin(), page->end());
                      return {};
                    });
    if (!done) return fail(std::move(done.error()));
    if (ids.size() - before < kIdentifyListEntries) break;
  }
  return ids;
}

// A controller that was told to speak the NVM command set alone still lists the namespaces of others (zoned ones, key-value
// ones), and identifies them as if they were of that set; only their descriptors tell.
Result<std::uint8_t> command_set_of(const Device& device, AdminQueue& admin, std::uint32_t id) {
  std::uint8_t command_set = kNvmCommandSet;
  if (device.version.raw < version_number(1, 3)) return command_set;
  auto done = admin.fetch(identify(kIdentifyDescriptors, id), kIdentifying,
                          [&](std::span<const std::byte> bytes) -> Result<void> {
                            command_set = parse_command_set(bytes);
                            return {};
                          });
  // A controller that refuses has not said anything.
  if (!done && admin.is_broken()) return fail(std::move(done.error()));
  return command_set;
}

// A namespace that can't be used is left out with a remark: the others still can.
Result<void> identify_namespaces(const Device& device, AdminQueue& admin, Inventory& inventory,
                                 std::span<const std::uint32_t> ids) {
  for (const std::uint32_t id : ids) {
    if (inventory.namespaces.size() == kMaxNamespaces) {
      inventory.facts.remarks.push_back(
          fmt::format("the namespaces from {} on are left out: the driver takes {}", id, kMaxNamespaces));
      break;
    }
    auto command_set = command_set_of(device, admin, id);
    if (!command_set) return fail(std::move(command_set.error()));
    if (*command_set != kNvmCommandSet) {
      inventory.facts.remarks.push_back(fmt::format(
          "namespace {} is left out: it speaks I/O command set {}, and the driver the NVM command set alone", id,
          *command_set));
      continue;
    }
    auto done = admin.fetch(
        identify(kIdentifyNamespace, id), kIdentifying, [&](std::span<const std::byte> bytes) -> Result<void> {
          if (auto facts = parse_namespace(bytes, id))
            inventory.namespaces.push_back(*facts);
          else
            inventory.facts.remarks.push_back(fmt::format("namespace {} is left out: {}", id, facts.error()));
          return {};
        });
    if (!done) return done;
  }
  return {};
}

std::uint64_t max_transfer(const Device& device, const ControllerIdentity& identity) {
  const auto log2_pages = identity.max_transfer_log2_pages;
  // MDTS counts in the controller's smallest pages, which are the pages that the driver uses. 0 means no limit, and so
  // does any number beyond what the driver moves at once.
  if (log2_pages == 0 || device.page_log2 + log2_pages >= 63) return kMaxTransferBytes;
  return std::min(kMaxTransferBytes, std::uint64_t{1} << (device.page_log2 + log2_pages));
}

// I/O queues whose doorbells lie within BAR 0.
std::uint32_t queues_that_fit(const Device& device) {
  const std::uint64_t doorbells = (device.registers->size_bytes() - kDoorbellBase) / device.doorbell_stride_bytes;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(doorbells / 2 - 1, 0xffff));
}

Result<std::uint16_t> negotiate_queues(const Device& device, AdminQueue& admin) {
  const auto wanted =
      static_cast<std::uint16_t>(std::clamp<std::uint32_t>(device.options.io_queues, 1, queues_that_fit(device)));
  auto granted = admin.execute(set_number_of_queues(wanted), "asking for I/O queues from the NVMe drive");
  if (!granted) return fail(std::move(granted.error()));
  return static_cast<std::uint16_t>(std::min<std::uint32_t>(wanted, NumberOfQueues::from(*granted).pairs()));
}

}  // namespace

Result<Inventory> take_inventory(Device& device, AdminQueue& admin) {
  auto identity = identify_controller(device, admin);
  if (!identity) return fail(std::move(identity.error()));
  Inventory inventory{.identity = std::move(*identity)};
  ControllerFacts& facts = inventory.facts;
  facts.model = inventory.identity.model;
  facts.serial = inventory.identity.serial;
  facts.firmware = inventory.identity.firmware;
  facts.version = device.version.raw;
  facts.max_transfer_bytes = max_transfer(device, inventory.identity);
  facts.max_queue_entries = static_cast<std::uint16_t>(std::min<std::uint32_t>(
      kMaxQueueEntries,
      static_cast<std::uint32_t>(device.capabilities.get(Capabilities::max_queue_entries_0based)) + 1));
  facts.takes_sgl = inventory.identity.sgl != SglSupport::none;
  facts.page_bytes = static_cast<std::uint32_t>(device.page_bytes());

  auto ids = list_namespaces(device, admin, inventory.identity);
  if (!ids) return fail(std::move(ids.error()));
  if (auto done = identify_namespaces(device, admin, inventory, *ids); !done) return fail(std::move(done.error()));

  auto queues = negotiate_queues(device, admin);
  if (!queues) return fail(std::move(queues.error()));
  facts.io_queues = *queues;
  return inventory;
}

}  // namespace barter::drivers::nvme
