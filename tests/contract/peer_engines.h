// The importers that drivers make on the software machine, each doing by its commands what a test says: a drive, an accelerator's
// copy engine, a DMA engine, a NIC. What a device has not answered soon counts as not carried out.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "barter/units.hpp"
#include "drivers/accelerator/accelerator.h"
#include "drivers/accelerator/engine_importer.h"
#include "drivers/accelerator/page_table_domain.h"
#include "drivers/dma_engine/engine.h"
#include "drivers/function_importer.h"
#include "drivers/nic/nic.h"
#include "drivers/nvme/controller.h"
#include "drivers/nvme/drive_importer.h"
#include "peer_contract_importer.h"

namespace barter::contract {

using namespace barter::literals;

class Engine : public ScriptedImporter {
 public:
  using ScriptedImporter::ScriptedImporter;
  [[nodiscard]] virtual bool write(DmaAddress to, std::span<const std::byte> bytes) = 0;
  [[nodiscard]] virtual bool read(DmaAddress from, std::span<std::byte> bytes) = 0;
  // Commands that it did not start or finish. An honest device without Bus Master Enable starts no request at all, so that no
  // counter of the machine sees it.
  [[nodiscard]] std::uint64_t withheld() const { return withheld_; }

 protected:
  static constexpr Duration kPatience = std::chrono::milliseconds(200);
  static constexpr std::uint64_t kBufferBytes = 256_KiB;

  void count_withheld() { ++withheld_; }
  // Polls until the one command that is in flight has ended. Did it do what it was to?
  template <class CommandResult, class Queue>
  [[nodiscard]] bool finish(base::Clock& clock, Queue& queue, std::uint64_t tag) {
    std::array<CommandResult, 1> results;
    const bool answered = base::wait_until(
        clock, clock.now() + kPatience, [&] { return queue.poll(results).value_or(0) == 1 && results[0].tag == tag; });
    if (!answered) ++withheld_;
    return answered && results[0].ok();
  }

 private:
  std::uint64_t withheld_ = 0;
};

// To write somewhere, the drive is made to read its blocks into there. A test's few bytes are a block's first; the rest of the
// block goes into a buffer of its own.
class DriveEngine final : public Engine {
 public:
  DriveEngine(std::unique_ptr<drivers::nvme::Controller> controller, peer::DmaDomain& domain)
      : Engine(controller->function().bdf()), controller_(std::move(controller)), real_(*controller_, domain) {
    buffer_ = std::move(*controller_->function().allocate_dma(kBufferBytes, pci::DmaUse::data));
    rest_ = std::move(*controller_->function().allocate_dma(kBlockBytes, pci::DmaUse::data));
    queue_ = std::move(*controller_->create_queue_pair({.entries = 16}));
  }
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] Result<void> isolate() override { return real_.isolate(); }

  [[nodiscard]] bool write(DmaAddress to, std::span<const std::byte> bytes) override {
    std::ranges::copy(bytes, buffer_.bytes().begin());
    return run(Opcode::write, buffered(bytes.size())) && run(Opcode::read, direct(to, bytes.size()));
  }
  [[nodiscard]] bool read(DmaAddress from, std::span<std::byte> bytes) override {
    if (!run(Opcode::write, direct(from, bytes.size())) || !run(Opcode::read, buffered(bytes.size()))) return false;
    std::ranges::copy(buffer_.bytes().first(bytes.size()), bytes.begin());
    return true;
  }

 private:
  using Opcode = drivers::nvme::Opcode;
  static constexpr std::uint64_t kBlockBytes = 512;

  [[nodiscard]] static std::uint64_t whole_blocks(std::uint64_t bytes) { return bytes + (-bytes % kBlockBytes); }
  [[nodiscard]] std::vector<DmaSegment> buffered(std::uint64_t bytes) const {
    return {{buffer_.address(), whole_blocks(bytes)}};
  }
  [[nodiscard]] std::vector<DmaSegment> direct(DmaAddress at, std::uint64_t bytes) const {
    std::vector<DmaSegment> memory{{at, bytes}};
    if (bytes % kBlockBytes != 0) memory.push_back({rest_.address(), whole_blocks(bytes) - bytes});
    return memory;
  }
  [[nodiscard]] bool run(Opcode opcode, const std::vector<DmaSegment>& memory) {
    std::uint64_t bytes = 0;
    for (const DmaSegment& segment : memory) bytes += segment.bytes;
    const auto blocks = static_cast<std::uint32_t>(bytes / kBlockBytes);
    if (!queue_->submit({.opcode = opcode, .block = 0, .blocks = blocks, .data = memory, .tag = ++tag_})) return false;
    queue_->ring();
    return finish<drivers::nvme::CommandResult>(controller_->function().clock(), *queue_, tag_);
  }

  // Destroyed from the last to the first: what is in flight goes before its memory.
  std::unique_ptr<drivers::nvme::Controller> controller_;
  drivers::nvme::DriveImporter real_;
  pci::DmaBuffer buffer_;
  pci::DmaBuffer rest_;
  std::unique_ptr<drivers::nvme::QueuePair> queue_;
  std::uint64_t tag_ = 0;
};

// Copies from and to the start of the accelerator's own memory, which its window shows.
class CopyEngine final : public Engine {
 public:
  CopyEngine(std::unique_ptr<drivers::accelerator::Accelerator> accelerator, peer::DmaDomain& domain)
      : Engine(accelerator->function().bdf()),
        accelerator_(std::move(accelerator)),
        real_(accelerator_->function(), domain),
        channel_(std::move(*accelerator_->create_channel(drivers::accelerator::Kind::copy, {}))) {}
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] Result<void> isolate() override { return real_.isolate(); }

  [[nodiscard]] bool write(DmaAddress to, std::span<const std::byte> bytes) override {
    std::ranges::copy(bytes, accelerator_->window_bytes({0, bytes.size()}).begin());
    return copy({.from = Operand::local(0), .to = Operand::bus(to), .bytes = bytes.size()});
  }
  [[nodiscard]] bool read(DmaAddress from, std::span<std::byte> bytes) override {
    const bool done = copy({.from = Operand::bus(from), .to = Operand::local(0), .bytes = bytes.size()});
    std::ranges::copy(accelerator_->window_bytes({0, bytes.size()}), bytes.begin());
    return done;
  }

 private:
  using Operand = drivers::accelerator::Operand;

  [[nodiscard]] bool copy(drivers::accelerator::CopyBytes what) {
    if (!channel_->submit(drivers::accelerator::copy(what, ++tag_))) return false;
    channel_->ring();
    return finish<drivers::accelerator::CommandResult>(accelerator_->function().clock(), *channel_, tag_);
  }

  std::unique_ptr<drivers::accelerator::Accelerator> accelerator_;
  drivers::FunctionImporter real_;
  std::unique_ptr<drivers::accelerator::Channel> channel_;
  std::uint64_t tag_ = 0;
};

// The same copy engine, whose requests name memory as the accelerator's own page tables do. The addresses there are chosen by the
// test, one after the other, in a part of them that no other mapping uses.
class TableEngine final : public Engine {
 public:
  TableEngine(std::unique_ptr<drivers::accelerator::Accelerator> accelerator, peer::DmaDomain& below, Route route)
      : Engine(accelerator->function().bdf()),
        accelerator_(std::move(accelerator)),
        domain_(*accelerator_, below, route),
        real_(accelerator_->function(), domain_),
        channel_(std::move(*accelerator_->create_channel(drivers::accelerator::Kind::copy, {}))) {}
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] Result<void> isolate() override { return real_.isolate(); }

  [[nodiscard]] bool write(DmaAddress to, std::span<const std::byte> bytes) override {
    std::ranges::copy(bytes, accelerator_->window_bytes({0, bytes.size()}).begin());
    return copy({.from = Operand::local(0), .to = Operand::virtual_memory(to.value), .bytes = bytes.size()});
  }
  [[nodiscard]] bool read(DmaAddress from, std::span<std::byte> bytes) override {
    const bool done =
        copy({.from = Operand::virtual_memory(from.value), .to = Operand::local(0), .bytes = bytes.size()});
    std::ranges::copy(accelerator_->window_bytes({0, bytes.size()}), bytes.begin());
    return done;
  }

 private:
  using Operand = drivers::accelerator::Operand;

  class Domain final : public peer::DmaDomain {
   public:
    Domain(drivers::accelerator::Accelerator& accelerator, peer::DmaDomain& below, Route route)
        : tables_(accelerator, below), route_(route) {}
    [[nodiscard]] bool translates() const override { return tables_.translates(); }
    [[nodiscard]] bool device_translates() const override { return tables_.device_translates(); }
    [[nodiscard]] bool is_defied() const override { return tables_.is_defied(); }
    [[nodiscard]] Result<DmaAddress> map(BusAddress target, std::uint64_t bytes, Access access) override {
      const std::uint64_t at = next_.fetch_add(16_MiB) + target.value % 4096;
      return tables_.map_at(
          {.at = {at}, .target = target, .bytes = bytes, .access = access, .route = route_, .link = {}});
    }
    void unmap(DmaAddress address, std::uint64_t bytes) override { tables_.unmap(address, bytes); }

   private:
    drivers::accelerator::PageTableDomain tables_;
    const Route route_;
    std::atomic<std::uint64_t> next_ = 1_GiB;
  };

  // What the tables don't have ends the command, and no counter of the machine sees it.
  [[nodiscard]] bool copy(drivers::accelerator::CopyBytes what) {
    if (!channel_->submit(drivers::accelerator::copy(what, ++tag_))) return false;
    channel_->ring();
    base::Clock& clock = accelerator_->function().clock();
    const std::uint64_t before = withheld();
    const bool done = finish<drivers::accelerator::CommandResult>(clock, *channel_, tag_);
    if (!done && withheld() == before) count_withheld();
    return done;
  }

  std::unique_ptr<drivers::accelerator::Accelerator> accelerator_;
  Domain domain_;
  drivers::accelerator::EngineImporter real_;
  std::unique_ptr<drivers::accelerator::Channel> channel_;
  std::uint64_t tag_ = 0;
};

// Holds no memory of its own: it moves to and from a buffer of the host.
class MoveEngine final : public Engine {
 public:
  MoveEngine(std::unique_ptr<drivers::dma_engine::Engine> engine, peer::DmaDomain& domain)
      : Engine(engine->function().bdf()),
        engine_(std::move(engine)),
        real_(engine_->function(), domain),
        channel_(std::move(*engine_->create_channel({}))),
        buffer_(std::move(*engine_->function().allocate_dma(kBufferBytes, pci::DmaUse::data))) {}
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] Result<void> isolate() override { return real_.isolate(); }

  [[nodiscard]] bool write(DmaAddress to, std::span<const std::byte> bytes) override {
    std::ranges::copy(bytes, buffer_.bytes().begin());
    return move(here(bytes.size()), {to, bytes.size()});
  }
  [[nodiscard]] bool read(DmaAddress from, std::span<std::byte> bytes) override {
    const bool done = move({from, bytes.size()}, here(bytes.size()));
    std::ranges::copy(buffer_.bytes().first(bytes.size()), bytes.begin());
    return done;
  }

 private:
  [[nodiscard]] DmaSegment here(std::uint64_t bytes) const { return {buffer_.address(), bytes}; }
  [[nodiscard]] bool move(DmaSegment from, DmaSegment to) {
    if (!channel_->submit({.from = {&from, 1}, .to = {&to, 1}, .tag = ++tag_})) return false;
    channel_->ring();
    return finish<drivers::dma_engine::CommandResult>(engine_->function().clock(), *channel_, tag_);
  }

  std::unique_ptr<drivers::dma_engine::Engine> engine_;
  drivers::FunctionImporter real_;
  std::unique_ptr<drivers::dma_engine::Channel> channel_;
  pci::DmaBuffer buffer_;
  std::uint64_t tag_ = 0;
};

// Reads memory to send it to a NIC at the other end of its wire, and writes it with what comes from there: a region of host memory
// that the other NIC has registered.
class NicEngine final : public Engine {
 public:
  NicEngine(std::unique_ptr<drivers::nic::Nic> nic, std::unique_ptr<drivers::nic::Nic> far, peer::DmaDomain& domain)
      : Engine(nic->function().bdf()),
        nic_(std::move(nic)),
        far_(std::move(far)),
        real_(nic_->function(), domain),
        buffer_(std::move(*far_->function().allocate_dma(kBufferBytes, pci::DmaUse::data))),
        far_pair_(std::move(*far_->create_pair({}))),
        pair_(std::move(*nic_->create_pair({}))) {
    const DmaSegment all = buffer_.segment();
    std::array<drivers::nic::CommandResult, 1> results;
    base::Clock& clock = far_->function().clock();
    EXPECT_TRUE(far_pair_->sends().submit(
        {.opcode = Opcode::expose, .memory = {&all, 1}, .remote_access = Access::read_write}));
    far_pair_->sends().ring();
    EXPECT_TRUE(base::wait_until(clock, clock.now() + kPatience,
                                 [&] { return far_pair_->sends().poll(results).value_or(0) == 1; }));
    EXPECT_TRUE(results[0].ok());
    key_ = {static_cast<std::uint32_t>(results[0].value)};
  }
  [[nodiscard]] peer::DmaDomain& domain() override { return real_.domain(); }
  [[nodiscard]] Result<void> isolate() override { return real_.isolate(); }

  [[nodiscard]] bool write(DmaAddress to, std::span<const std::byte> bytes) override {
    std::ranges::copy(bytes, buffer_.bytes().begin());
    return run(Opcode::read, {to, bytes.size()});
  }
  [[nodiscard]] bool read(DmaAddress from, std::span<std::byte> bytes) override {
    const bool done = run(Opcode::write, {from, bytes.size()});
    std::ranges::copy(buffer_.bytes().first(bytes.size()), bytes.begin());
    return done;
  }

 private:
  using Opcode = drivers::nic::Opcode;

  [[nodiscard]] bool run(Opcode opcode, DmaSegment memory) {
    drivers::nic::Channel& channel = pair_->sends();
    if (!channel.submit({.opcode = opcode, .memory = {&memory, 1}, .key = key_, .tag = ++tag_})) return false;
    channel.ring();
    return finish<drivers::nic::CommandResult>(nic_->function().clock(), channel, tag_);
  }

  // Destroyed from the last to the first: what is in flight goes before its memory.
  std::unique_ptr<drivers::nic::Nic> nic_;
  std::unique_ptr<drivers::nic::Nic> far_;
  drivers::FunctionImporter real_;
  pci::DmaBuffer buffer_;
  std::unique_ptr<drivers::nic::Pair> far_pair_;
  std::unique_ptr<drivers::nic::Pair> pair_;
  drivers::nic::RemoteKey key_;
  std::uint64_t tag_ = 0;
};

}  // namespace barter::contract
