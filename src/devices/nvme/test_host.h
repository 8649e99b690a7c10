// A host for tests of the controller: memory at known bus addresses and a driver that knows the specification by heart.
// It shares no table with the model: its numbers are typed in a second time, from the specification.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "devices/nvme/controller.h"
#include "fabric/device.h"

namespace barter::devices::nvme {

// Strict host memory: one range of addresses, everything else is an unsupported request. A run is over with the next access
// (docs/memory-order.md, rule 7): whoever uses it longer finds rubbish.
class TestHost final : public fabric::Requester {
 public:
  static constexpr std::uint64_t kMemory = 0x1'0000'0000;
  static constexpr std::uint64_t kRegisters = 0x2'0000'0000;  // 64 KiB that run() does not show

  explicit TestHost(std::size_t bytes = 8 << 20) : memory_(bytes), registers_(65536) {}

  fabric::Completion read(DmaAddress from, std::span<std::byte> into) override {
    end_run();
    std::byte* at = find(from.value, into.size());
    if (const auto status = check(from.value, into.size(), at); status != fabric::Completion::successful) return status;
    std::memcpy(into.data(), at, into.size());
    return fabric::Completion::successful;
  }
  fabric::Completion write(DmaAddress to, std::span<const std::byte> from) override {
    end_run();
    std::byte* at = find(to.value, from.size());
    if (const auto status = check(to.value, from.size(), at); status != fabric::Completion::successful) return status;
    std::memcpy(at, from.data(), from.size());
    return fabric::Completion::successful;
  }
  Run run(DmaAddress at, std::uint64_t bytes, Access access) override {
    end_run();
    ++runs;
    if (bytes == 0) ADD_FAILURE() << "an empty run";
    if (at.value >= kRegisters && at.value - kRegisters < registers_.size()) return {};
    const std::uint64_t part = std::min(bytes, run_limit - at.value % run_limit);
    std::byte* start = find(at.value, part);
    if (const auto status = check(at.value, part, start); status != fabric::Completion::successful) return {{}, status};
    run_.assign(start, start + part);
    run_target_ = access == Access::read ? nullptr : start;
    return {run_};
  }
  void interrupt(unsigned vector) override { ++interrupts[vector]; }
  void windows_changed() override { ++window_changes; }
  bool may_master() const override { return masters; }
  std::optional<BusAddress> bar_address(unsigned) const override { return std::nullopt; }

  std::span<std::byte> bytes(std::uint64_t address, std::size_t size) {
    end_run();
    std::byte* at = find(address, size);
    if (at == nullptr) std::abort();
    return {at, size};
  }
  template <class T>
  void put(std::uint64_t address, T value) {
    std::memcpy(bytes(address, sizeof(T)).data(), &value, sizeof(T));
  }
  template <class T>
  T get(std::uint64_t address) {
    T value;
    std::memcpy(&value, bytes(address, sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::map<unsigned, unsigned> interrupts;
  unsigned window_changes = 0;
  std::uint64_t runs = 0;
  std::uint64_t run_limit = std::uint64_t{1} << 40;  // a run ends at a multiple of this
  bool masters = true;
  // Requests that touch this address end so.
  std::uint64_t broken_address = ~std::uint64_t{0};
  fabric::Completion broken_how = fabric::Completion::poisoned;

 private:
  std::byte* find(std::uint64_t address, std::size_t size) {
    if (address >= kMemory && address - kMemory <= memory_.size() && size <= memory_.size() - (address - kMemory)) {
      return memory_.data() + (address - kMemory);
    }
    if (address >= kRegisters && address - kRegisters <= registers_.size() &&
        size <= registers_.size() - (address - kRegisters)) {
      return registers_.data() + (address - kRegisters);
    }
    return nullptr;
  }
  void end_run() {
    if (run_target_ != nullptr) std::memcpy(run_target_, run_.data(), run_.size());
    run_target_ = nullptr;
    std::fill(run_.begin(), run_.end(), std::byte{0xdd});
    run_.resize(0);
  }
  fabric::Completion check(std::uint64_t address, std::size_t size, const std::byte* found) const {
    if (found == nullptr) return fabric::Completion::unsupported_request;
    if (broken_address >= address && broken_address - address < size) return broken_how;
    return fabric::Completion::successful;
  }

  std::vector<std::byte> memory_;
  std::vector<std::byte> registers_;
  std::vector<std::byte> run_;       // what the open run shows
  std::byte* run_target_ = nullptr;  // where it belongs when it is over, if it is for writing
};

// One command, dword by dword.
struct TestCommand {
  std::uint8_t opcode = 0;
  std::uint8_t flags = 0;  // bits 15:8 of the first dword
  std::uint32_t nsid = 0;
  std::uint64_t prp1 = 0;
  std::uint64_t prp2 = 0;
  std::uint32_t cdw10 = 0, cdw11 = 0, cdw12 = 0, cdw13 = 0, cdw14 = 0, cdw15 = 0;
};

struct TestCompletion {
  std::uint32_t result = 0;
  std::uint16_t sqhd = 0;
  std::uint16_t sqid = 0;
  std::uint16_t cid = 0;
  std::uint16_t status = 0;  // without phase, DNR, More: type << 8 | code
  bool do_not_retry = false;
};

struct TestQueue {
  std::uint16_t id = 0;
  std::uint32_t entries = 0;
  std::uint64_t sq = 0;
  std::uint64_t cq = 0;
  std::uint32_t tail = 0;
  std::uint32_t head = 0;
  bool phase = true;
};

class TestDriver {
 public:
  static constexpr std::uint64_t kAdminSq = TestHost::kMemory;
  static constexpr std::uint64_t kAdminCq = TestHost::kMemory + 0x10000;
  static constexpr std::uint64_t kBuffer = TestHost::kMemory + 0x20000;  // one page for admin data
  static constexpr std::uint64_t kQueues = TestHost::kMemory + 0x100000;
  static constexpr std::uint64_t kData = TestHost::kMemory + 0x400000;  // 4 MiB for I/O data

  explicit TestDriver(ControllerSetup setup) : stride_(4u << setup.doorbell_stride_log2) {
    auto made = create_controller(std::move(setup));
    if (!made) {
      ADD_FAILURE() << made.error().message();
      std::abort();
    }
    device = std::move(*made);
    device->attach(host);
  }

  std::uint32_t read32(std::uint64_t at) { return static_cast<std::uint32_t>(device->read_register(0, {at}, 4)); }
  std::uint64_t read64(std::uint64_t at) { return device->read_register(0, {at}, 8); }
  void write32(std::uint64_t at, std::uint32_t value) { device->write_register(0, {at}, 4, value); }
  void write64(std::uint64_t at, std::uint64_t value) { device->write_register(0, {at}, 8, value); }
  void settle(int steps = 1000) {
    while (steps-- > 0 && device->step()) {
    }
  }

  void enable(std::uint32_t entries = 32, std::uint32_t configuration = 0x00460001) {
    write32(0x24, (entries - 1) << 16 | (entries - 1));
    write64(0x28, kAdminSq);
    write64(0x30, kAdminCq);
    write32(0x14, configuration);
    settle();
    admin = {.id = 0, .entries = entries, .sq = kAdminSq, .cq = kAdminCq};
    clear(admin);
  }
  void disable() {
    write32(0x14, 0x00460000);
    settle();
  }

  void clear(const TestQueue& queue) {
    const auto entries = memory(queue.cq, queue.entries * 16);
    std::memset(entries.data(), 0, entries.size());
  }

  // Bytes that the driver can reach: host memory, or the CMB where the test has put it.
  std::span<std::byte> memory(std::uint64_t address, std::size_t size) {
    if (cmb_base != 0 && address >= cmb_base && address - cmb_base < cmb.size())
      return cmb.subspan(address - cmb_base, size);
    return host.bytes(address, size);
  }

  // Puts a command into the queue; ring() tells the controller. Returns its identifier.
  std::uint16_t put(TestQueue& queue, const TestCommand& command) {
    const std::uint16_t cid = next_cid_++;
    return put(queue, command, cid);
  }
  std::uint16_t put(TestQueue& queue, const TestCommand& command, std::uint16_t cid) {
    std::array<std::uint32_t, 16> dwords{};
    dwords[0] = std::uint32_t{cid} << 16 | std::uint32_t{command.flags} << 8 | command.opcode;
    dwords[1] = command.nsid;
    dwords[6] = static_cast<std::uint32_t>(command.prp1);
    dwords[7] = static_cast<std::uint32_t>(command.prp1 >> 32);
    dwords[8] = static_cast<std::uint32_t>(command.prp2);
    dwords[9] = static_cast<std::uint32_t>(command.prp2 >> 32);
    dwords[10] = command.cdw10;
    dwords[11] = command.cdw11;
    dwords[12] = command.cdw12;
    dwords[13] = command.cdw13;
    dwords[14] = command.cdw14;
    dwords[15] = command.cdw15;
    std::memcpy(memory(queue.sq + queue.tail * 64, 64).data(), dwords.data(), 64);
    queue.tail = (queue.tail + 1) % queue.entries;
    return cid;
  }
  void ring(const TestQueue& queue) { write32(0x1000 + (2u * queue.id) * std::uint64_t{stride_}, queue.tail); }
  void ring_head(const TestQueue& queue) { write32(0x1000 + (2u * queue.id + 1) * std::uint64_t{stride_}, queue.head); }

  // The next completion, if there is one.
  std::optional<TestCompletion> take(TestQueue& queue) {
    std::array<std::uint32_t, 4> dwords;
    std::memcpy(dwords.data(), memory(queue.cq + queue.head * 16, 16).data(), 16);
    if ((dwords[3] >> 16 & 1) != (queue.phase ? 1u : 0u)) return std::nullopt;
    if (++queue.head == queue.entries) {
      queue.head = 0;
      queue.phase = !queue.phase;
    }
    ring_head(queue);
    return TestCompletion{.result = dwords[0],
                          .sqhd = static_cast<std::uint16_t>(dwords[2]),
                          .sqid = static_cast<std::uint16_t>(dwords[2] >> 16),
                          .cid = static_cast<std::uint16_t>(dwords[3]),
                          .status = static_cast<std::uint16_t>(dwords[3] >> 17 & 0x7ff),
                          .do_not_retry = (dwords[3] >> 31) != 0};
  }
  // One command from beginning to end. A status of 0xffff: there was no completion.
  TestCompletion run(TestQueue& queue, const TestCommand& command) {
    const std::uint16_t cid = put(queue, command);
    ring(queue);
    settle();
    const auto completion = take(queue);
    if (!completion) return {.status = 0xffff};
    EXPECT_EQ(completion->cid, cid);
    EXPECT_EQ(completion->sqid, queue.id);
    EXPECT_EQ(completion->sqhd, queue.tail);
    return *completion;
  }
  TestCompletion run_admin(const TestCommand& command) { return run(admin, command); }

  std::uint16_t create_cq(std::uint16_t id, std::uint32_t entries, std::uint64_t base, std::uint32_t cdw11 = 1) {
    return run_admin({.opcode = 0x05, .prp1 = base, .cdw10 = (entries - 1) << 16 | id, .cdw11 = cdw11}).status;
  }
  std::uint16_t create_sq(std::uint16_t id, std::uint32_t entries, std::uint64_t base, std::uint16_t cq) {
    return run_admin(
               {.opcode = 0x01, .prp1 = base, .cdw10 = (entries - 1) << 16 | id, .cdw11 = std::uint32_t{cq} << 16 | 1})
        .status;
  }
  // A queue pair in host memory (or wherever `sq` and `cq` say); interrupts on vector `id`.
  TestQueue create_pair(std::uint16_t id, std::uint32_t entries, std::uint64_t sq = 0, std::uint64_t cq = 0) {
    TestQueue queue{.id = id,
                    .entries = entries,
                    .sq = sq != 0 ? sq : kQueues + std::uint64_t{id} * 0x20000,
                    .cq = cq != 0 ? cq : kQueues + std::uint64_t{id} * 0x20000 + 0x10000};
    clear(queue);
    EXPECT_EQ(create_cq(id, entries, queue.cq, std::uint32_t{id} << 16 | 3), 0);
    EXPECT_EQ(create_sq(id, entries, queue.sq, id), 0);
    return queue;
  }

  // Turns the memory buffer on at this address.
  void enable_cmb(std::uint64_t base) {
    write64(0x50, base | 3);
    const auto windows = device->windows();
    ASSERT_EQ(windows.size(), 1u);
    cmb = windows[0].bytes;
    cmb_base = base;
    settle();
  }

  // A read (02h), write (01h), compare (05h) or write zeroes (08h) command.
  static TestCommand blocks(std::uint8_t opcode, std::uint64_t slba, std::uint32_t count, std::uint64_t prp1,
                            std::uint64_t prp2 = 0) {
    return {.opcode = opcode,
            .nsid = 1,
            .prp1 = prp1,
            .prp2 = prp2,
            .cdw10 = static_cast<std::uint32_t>(slba),
            .cdw11 = static_cast<std::uint32_t>(slba >> 32),
            .cdw12 = count - 1};
  }

  void fill(std::uint64_t address, std::size_t size, std::uint8_t seed) {
    const auto bytes = memory(address, size);
    for (std::size_t each = 0; each < size; ++each) {
      bytes[each] = static_cast<std::byte>(each * 31 + (each >> 8) * 7 + seed);
    }
  }

  TestHost host;
  std::unique_ptr<fabric::Device> device;
  TestQueue admin;
  std::span<std::byte> cmb;
  std::uint64_t cmb_base = 0;

 private:
  std::uint32_t stride_;
  std::uint16_t next_cid_ = 100;
};

// A setup with one namespace in memory.
inline ControllerSetup test_setup(std::uint64_t bytes = 4 << 20, std::uint32_t block_bytes = 512) {
  ControllerSetup setup;
  auto backing = create_memory_backing(bytes);
  if (!backing) std::abort();
  setup.namespaces.push_back({std::move(*backing), block_bytes});
  return setup;
}

}  // namespace barter::devices::nvme
