// The examples of docs/peer.md, word for word: they compile, do what the page says, and stand in it as they stand here.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "barter/barter.hpp"

namespace {

using namespace barter::literals;

// A text without what its indentation and line breaks are made of.
std::string words_of(std::string_view text) {
  std::string words;
  for (const char letter : text) {
    const bool is_space = letter == ' ' || letter == '\n';
    if (!is_space)
      words += letter;
    else if (!words.empty() && words.back() != ' ')
      words += ' ';
  }
  return words;
}

std::string read_file(const std::string& name) {
  std::ifstream file(BARTER_SOURCE_DIR "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> examples_of(const std::string& page) {
  constexpr std::string_view kStart = "```cpp\n";
  std::vector<std::string> all;
  for (std::size_t at = page.find(kStart); at != std::string::npos; at = page.find(kStart, at)) {
    at += kStart.size();
    all.push_back(page.substr(at, page.find("```", at) - at));
  }
  return all;
}

TEST(PeerGuide, ExamplesOfThePageAreTheOnesThatAreTested) {
  const std::vector<std::string> examples = examples_of(read_file("docs/peer.md"));
  // What needs several processes is tested where there are some.
  const std::string source = words_of(read_file("tests/contract/peer_guide_test.cc")) +
                             words_of(read_file("tests/lifetime/peer_guide_test.cc"));
  // A device pointer, revocation, managed memory, another process.
  EXPECT_GE(examples.size(), 4u);
  for (const std::string& example : examples) EXPECT_THAT(source, testing::HasSubstr(words_of(example))) << example;
}

int share_device_memory() {
  auto machine = barter::Machine::open("ai-server");
  if (!machine) return barter::print(machine.error());
  barter::Provider gpu = *machine->provider("gpu0");
  const barter::Drive drive = *machine->drive("nvme1");

  auto region = gpu.allocate(1_MiB);
  if (!region) return barter::print(region.error());
  std::span<std::byte> bytes = region->cpu_bytes();  // an ordinary pointer to the device's memory; empty: it has none
  std::ranges::fill(bytes, std::byte{0x5a});

  // The owner decides on each request, and may decide differently on its parts.
  const std::uint64_t secret = region->range().offset + 768_KiB;
  gpu.on_request([secret](const barter::Request& request) {
    if (request.range.offset >= secret) return barter::Answer::refuse("the last quarter is nobody's business");
    if (request.access != barter::Access::read) return barter::Answer::by_way_of_host("peers may only read here");
    return barter::Answer::direct().for_first(secret - request.range.offset);
  });
  std::uint64_t shared_bytes = 768_KiB;
  gpu.on_unmap([&](const barter::Request& granted) { shared_bytes -= granted.range.bytes; });

  auto parts = drive.map_parts(*region, {.access = barter::Access::read});
  if (!parts) return barter::print(parts.error());
  std::uint64_t at = 0;
  for (barter::MappedPart& part : *parts) {
    if (!part.mapping) continue;  // part.answer.reason: "the last quarter is nobody's business"
    auto lease = part.mapping->lease();
    if (!lease) return barter::print(lease.error());
    // The drive fetches the bytes from the device by itself: none of them passes through host memory.
    auto written = barter::write(drive, {.offset = at}, *lease);
    if (!written) return barter::print(written.error());
    at += part.range.bytes;
  }
  parts->clear();  // unmaps, and the owner is told of the end of what it granted: shared_bytes is 0 again

  std::vector<std::byte> found(at);
  if (auto read = barter::read(drive, {}, found); !read) return barter::print(read.error());
  return shared_bytes == 0 && std::ranges::equal(found, bytes.first(at)) ? 0 : 1;
}

TEST(PeerGuide, SharesDeviceMemory) { EXPECT_EQ(share_device_memory(), 0); }

int take_memory_back() {
  auto machine = barter::Machine::open("two-nvme");
  if (!machine) return barter::print(machine.error());
  barter::Provider owner = *machine->provider("nvme0");
  const barter::Drive importer = *machine->drive("nvme1");
  auto region = owner.allocate(2_MiB);
  if (!region) return barter::print(region.error());
  auto dynamic = importer.map(*region);
  if (!dynamic) return barter::print(dynamic.error());

  // Pinned memory: the owner has promised not to move it, within a limit of its own.
  owner.limit_pins(1_MiB);
  {
    auto pinned = importer.map(*region, {.bytes = 1_MiB, .hold = barter::Hold::pinned});
    if (!pinned) return barter::print(pinned.error());
    auto too_much = importer.map(*region, {.offset = 1_MiB, .bytes = 4_KiB, .hold = barter::Hold::pinned});
    if (too_much.has_value() || too_much.error().code != barter::ErrorCode::exhausted) return 1;
    auto moved = region->invalidate();
    if (moved.has_value() || moved.error().code != barter::ErrorCode::pinned) return 1;  // and nobody was told
  }

  // For now, because the memory is to move. The importer's mapping is stale, and it maps the memory again.
  auto moved = region->invalidate();
  if (!moved) return barter::print(moved.error());
  auto stale = dynamic->lease();
  if (stale.has_value() || stale.error().code != barter::ErrorCode::revoked) return 1;
  dynamic = importer.map(*region);
  if (!dynamic) return barter::print(dynamic.error());

  // For good. A lease stands for a transfer in flight; nobody ends this one, so its importer is cut off at the deadline.
  auto lease = dynamic->lease();
  auto revoked = region->revoke({.deadline = 10ms});
  if (!revoked) return barter::print(revoked.error());
  const bool was_late = revoked->late == std::vector<barter::Bdf>{importer.bdf()};
  return was_late && !importer.map(*region) ? 0 : 1;
}

TEST(PeerGuide, TakesMemoryBack) { EXPECT_EQ(take_memory_back(), 0); }

int move_memory_under_its_users() {
  auto machine = barter::Machine::open("ai-server");
  if (!machine) return barter::print(machine.error());
  barter::Provider gpu = *machine->provider("gpu0");
  const barter::Drive drive = *machine->drive("nvme0");
  auto memory = barter::ManagedMemory::create(*machine, 1_MiB);
  if (!memory) return barter::print(memory.error());
  std::span<std::byte> bytes = memory->bytes();  // an ordinary pointer; its pages are where they are used
  std::ranges::fill(bytes, std::byte{0x77});
  if (auto moved = memory->move_to(gpu); !moved) return barter::print(moved.error());

  // Whoever owns the device decides on these pages as on all its memory.
  gpu.on_request([](const barter::Request& request) {
    if (request.access == barter::Access::read) return barter::Answer::direct();
    return barter::Answer::by_way_of_host("peers may only read here");
  });
  auto reader = memory->map(drive, {.access = barter::Access::read});
  if (!reader) return barter::print(reader.error());
  if (reader->parts().size() != 1 || !reader->parts().front().is_direct) return 1;
  {
    auto leases = reader->lease();  // one for each place that pages are in: here one, in the device
    if (!leases) return barter::print(leases.error());
    auto written = barter::write(drive, {}, *leases);
    if (!written) return barter::print(written.error());
  }

  // For a writer, by that answer, the pages move to host memory. Whoever had them mapped is told, and maps them again.
  auto writer = memory->map(drive, {.access = barter::Access::write, .bytes = 64_KiB});
  if (!writer) return barter::print(writer.error());
  if (writer->parts().front().is_direct) return 1;
  auto stale = reader->lease();
  if (stale.has_value() || stale.error().code != barter::ErrorCode::revoked) return 1;
  {
    auto leases = writer->lease();
    if (!leases) return barter::print(leases.error());
    auto read = barter::read(drive, {.offset = 128_KiB}, *leases);
    if (!read) return barter::print(read.error());
  }
  auto where = memory->where();
  if (!where) return barter::print(where.error());
  const bool is_divided = where->size() == 2 && where->front().state == barter::PageState::host &&
                          where->front().range.bytes == 64_KiB && where->back().state == barter::PageState::device;
  // Half of it is here and half of it there, and a pointer into either is good: this touch brings a page back.
  return is_divided && bytes[0] == std::byte{0x77} && bytes[1_MiB - 1] == std::byte{0x77} ? 0 : 1;
}

TEST(PeerGuide, MovesMemoryUnderItsUsers) { EXPECT_EQ(move_memory_under_its_users(), 0); }

int send_without_a_copy() {
  auto machine = barter::Machine::open("wired");
  if (!machine) return barter::print(machine.error());
  auto here = barter::QueuePair::open(*machine->nic("nic0"));
  auto there = barter::QueuePair::open(*machine->nic("nic1"));  // the same number: the two are joined
  auto from = machine->provider("gpu0")->allocate(1_MiB);
  auto into = machine->provider("gpu1")->allocate(1_MiB);
  if (!here || !there || !from || !into) return 1;
  std::ranges::fill(from->cpu_bytes(), std::byte{0x44});

  // A message: out of the one accelerator's memory, into the other's.
  if (auto posted = there->post_receive(into->cpu_bytes()); !posted) return barter::print(posted.error());
  auto sent = here->send(from->cpu_bytes().first(512_KiB));
  if (!sent) return barter::print(sent.error());
  auto message = there->receive();
  if (!message) return barter::print(message.error());
  if (sent->direct_bytes != 512_KiB || message->bytes != 512_KiB) return 1;

  // Memory that is shown to the other end: from here on it writes there without a word to this one.
  auto shown = there->expose(into->cpu_bytes(), {.access = barter::Access::write});
  if (!shown) return barter::print(shown.error());
  const std::uint32_t key = *shown->key();  // a number, for the other end to know
  if (auto wrote = here->write(from->cpu_bytes(), {.key = key}); !wrote) return barter::print(wrote.error());
  const bool is_whole = std::ranges::all_of(into->cpu_bytes(), [](std::byte one) { return one == std::byte{0x44}; });

  // Its owner takes it back, and waits for nobody: the key is withdrawn.
  if (auto taken = into->revoke(); !taken || !taken->late.empty()) return 1;
  const auto late = here->write(from->cpu_bytes(), {.key = key});
  return is_whole && !late && late.error().code == barter::ErrorCode::refused ? 0 : 1;
}

TEST(PeerGuide, SendsWithoutACopy) { EXPECT_EQ(send_without_a_copy(), 0); }

int read_wherever_it_is() {
  auto machine = barter::Machine::open("training");
  if (!machine) return barter::print(machine.error());
  const barter::DmaEngine engine = *machine->dma_engine("dma0");
  auto memory = barter::ManagedMemory::create(*machine, 1_MiB);
  auto region = machine->provider("gpu1")->allocate(1_MiB);
  if (!memory || !region) return barter::print(memory ? region.error() : memory.error());
  std::ranges::fill(memory->bytes(), std::byte{0x3c});
  if (auto moved = memory->move_to(*machine->provider("gpu0"), {.bytes = 512_KiB}); !moved)
    return barter::print(moved.error());

  // Two pointers: one to memory that is half here and half there, one to a device's own. Their owners are asked.
  auto source = barter::register_memory(engine, memory->bytes(), {.access = barter::Access::read});
  if (!source) return barter::print(source.error());
  auto target = barter::register_memory(engine, region->cpu_bytes(), {.access = barter::Access::write});
  if (!target) return barter::print(target.error());
  if (source->where().size() != 2) return 1;

  // It moves, and the registration follows: the next lease maps anew what has moved.
  if (auto moved = memory->move_to_host(); !moved) return barter::print(moved.error());
  if (!source->is_stale()) return 1;
  auto from = source->lease();
  auto to = target->lease();
  if (!from || !to) return barter::print(from ? to.error() : from.error());
  if (auto moved = barter::move_bytes(engine, *from, *to); !moved) return barter::print(moved.error());
  const bool is_whole = std::ranges::all_of(region->cpu_bytes(), [](std::byte one) { return one == std::byte{0x3c}; });
  return is_whole && source->where().size() == 1 ? 0 : 1;
}

TEST(PeerGuide, ReadsWhereverItIs) { EXPECT_EQ(read_wherever_it_is(), 0); }

int copy_by_link() {
  auto machine = barter::Machine::open("linked");
  if (!machine) return barter::print(machine.error());
  const barter::Accelerator gpu0 = *machine->accelerator("gpu0");
  const barter::Accelerator gpu1 = *machine->accelerator("gpu1");
  auto weights = gpu0.memory()->allocate(4_MiB);
  auto copy = gpu1.memory()->allocate(4_MiB);
  if (!weights || !copy) return 1;
  std::ranges::fill(weights->cpu_bytes(), std::byte{0x5a});

  // PCIe keeps the two apart, and a link joins them: best.why says so.
  const barter::RouteChoice best = machine->best_route({.client = gpu0, .provider = gpu1});
  if (best.route != barter::Route::link) return 1;
  auto report = barter::copy_memory(gpu0, *weights, *copy, {.policy = barter::P2p::required});
  if (!report) return barter::print(report.error());
  // report->link_bytes is all of it: no byte was on PCIe or in host memory.
  return report->link_bytes == 4_MiB && std::ranges::equal(weights->cpu_bytes(), copy->cpu_bytes()) ? 0 : 1;
}

TEST(PeerGuide, CopiesByALink) { EXPECT_EQ(copy_by_link(), 0); }

}  // namespace
