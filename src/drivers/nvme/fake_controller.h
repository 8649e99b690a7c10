// For tests: a minimal NVMe controller behind pci::Function, which can lie. It is written from the specification with
// numbers of its own, and shares no constant with the driver. It does one thing at a time, whenever the driver waits.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pci/function.h"

namespace barter::drivers::nvme::testing {

struct FakeNamespace {
  std::uint32_t id = 1;
  std::uint64_t blocks = 1024;
  std::uint8_t block_log2 = 9;
  std::uint16_t metadata_bytes = 0;
  bool write_protected = false;
  std::uint8_t flbas = 0;
  std::uint8_t command_set = 0;
  std::vector<std::byte> media = {};
};

struct FakeCompletion {
  std::uint16_t command_id;
  std::uint16_t queue_head;
  std::uint16_t queue_id;
  std::uint16_t status;
  std::uint32_t dword0;
};

// Everything a test may set before bring-up, or change later.
struct FakeSetup {
  std::uint64_t cap = 0x0000'0020'0100'003f;  // 64 entries, TO 500 ms, NVM command set, pages of 4 KiB
  std::uint32_t version = 0x0002'0000;
  std::uint64_t bar_bytes = 0x4000;
  std::uint32_t class_revision = 0x0108'0201;
  std::uint32_t identity = 0x0010'1b36;
  std::vector<FakeNamespace> namespaces = {FakeNamespace{}};
  std::vector<std::uint32_t> namespace_list = {};  // what CNS 02h says; empty: the truth
  std::uint8_t mdts = 0;
  std::uint8_t sqes = 0x66, cqes = 0x44;
  std::uint32_t sgls = 0;
  std::uint16_t queue_pairs = 4;  // granted at most
  std::uint64_t cmb_bytes = 0;    // in BAR 2, at cmb_offset
  std::uint64_t cmb_offset = 0;
  std::uint64_t cmb_bar_bytes = 0x10000;
  std::optional<std::uint32_t> cmbsz = {}, cmbloc = {};
  bool refuses_cmb_address = false;
  bool never_ready = false, never_disabled = false, fatal_when_enabled = false, never_shut_down = false;
  bool ignores_doorbells = false;
  std::function<std::optional<std::uint16_t>(std::uint8_t opcode)> admin_status = {};  // fails admin commands
  std::function<bool(FakeCompletion&)> on_completion = {};  // changes or, with false, loses an I/O completion
};

class FakeController {
 public:
  explicit FakeController(FakeSetup setup_) : setup(std::move(setup_)) {
    for (FakeNamespace& space : setup.namespaces)
      if (space.block_log2 < 24 && space.blocks <= std::uint64_t{1} << (24 - space.block_log2))
        space.media.resize(space.blocks << space.block_log2);
    cmb.resize(setup.cmb_bytes);
  }

  FakeSetup setup;
  std::vector<std::byte> cmb;
  bool is_gone = false;
  std::uint16_t command = 0;  // config space
  std::vector<std::string> violations;
  std::vector<std::array<std::uint32_t, 16>> io_commands;
  std::vector<std::uint16_t> vectors_asked;
  unsigned doorbell_stores = 0;
  std::uint64_t status_reads = 0;
  std::int64_t now_ns = 0;
  std::uint64_t dma_bytes_allocated = 0;
  unsigned interrupts_pending = 0;
  static constexpr std::uint64_t kBar0 = 0xfe00'0000, kBar2 = 0x80'0000'0000;

  // One device for one step.
  void step() {
    now_ns += 1000;
    if (is_gone) return;
    if ((cc_ & 1) != 0 && (csts_ & 1) == 0 && !setup.never_ready) csts_ |= 1;
    if ((cc_ & 1) == 0 && !setup.never_disabled) disable();
    if (setup.fatal_when_enabled && (cc_ & 1) != 0) csts_ |= 2;
    if ((cc_ >> 14 & 3) != 0 && !setup.never_shut_down) csts_ = (csts_ & ~0xcu) | 0x8;
    if ((csts_ & 1) == 0 || setup.ignores_doorbells) return;
    for (auto& [id, queue] : submissions_) {
      if (queue.head == queue.tail) continue;
      execute(id, queue);
      return;
    }
  }

  // Writes a completion that no command has asked for, in I/O queue 1.
  void post(const FakeCompletion& completion) { write_completion(completions_.at(1), completion); }

  std::uint64_t load(std::uint64_t at, unsigned width) {
    if (is_gone) return width == 8 ? ~std::uint64_t{0} : 0xffff'ffff;
    switch (at) {
      case 0x00:
        return setup.cap;
      case 0x08:
        return setup.version;
      case 0x14:
        return cc_;
      case 0x1c:
        ++status_reads;
        return csts_;
      case 0x38:
        return cre() ? setup.cmbloc.value_or(static_cast<std::uint32_t>(2 | setup.cmb_offset)) : 0;
      case 0x3c:
        return cre() ? setup.cmbsz.value_or(static_cast<std::uint32_t>(setup.cmb_bytes | 0x19)) : 0;
      case 0x58:
        return setup.refuses_cmb_address;
      default:
        violations.push_back("load at " + std::to_string(at));
        return 0;
    }
  }
  void store(std::uint64_t at, unsigned width, std::uint64_t value) {
    if (is_gone) return;
    if (at >= 0x1000) return ring(at, static_cast<std::uint32_t>(value));
    switch (at) {
      case 0x14:
        cc_ = static_cast<std::uint32_t>(value);
        break;
      case 0x24:
        aqa_ = static_cast<std::uint32_t>(value);
        break;
      case 0x28:
        asq_ = value;
        break;
      case 0x30:
        acq_ = value;
        break;
      case 0x50:
        cmbmsc = value;
        break;
      default:
        violations.push_back("store at " + std::to_string(at));
    }
    if (at == 0x14 && (cc_ & 1) != 0 && (csts_ & 1) == 0) start();
    if ((at == 0x50 || at == 0x28 || at == 0x30) != (width == 8))
      violations.push_back("width at " + std::to_string(at));
  }

  DmaAddress lend(std::span<std::byte> bytes) {
    next_dma_ += 0x10000;
    const DmaAddress address{next_dma_};
    next_dma_ += (bytes.size() + 0xfff) & ~std::uint64_t{0xfff};
    dma_[address.value] = bytes;
    dma_bytes_allocated += bytes.size();
    return address;
  }
  void take_back(DmaAddress address) {
    // Memory must not go while the controller is on and may use it.
    if ((csts_ & 1) != 0 && (csts_ & 0xc) == 0 && !is_gone && (command & 4) != 0 && in_use(address.value))
      violations.push_back("memory in use was freed");
    dma_bytes_allocated -= dma_[address.value].size();
    dma_.erase(address.value);
  }
  std::span<std::byte> at(std::uint64_t address, std::uint64_t bytes) {
    const std::uint64_t cmb_at = kBar2 + setup.cmb_offset;
    if (address >= cmb_at && address - cmb_at + bytes <= cmb.size() && (cmbmsc & 2) != 0)
      return std::span(cmb).subspan(address - cmb_at, bytes);
    auto found = dma_.upper_bound(address);
    if (found != dma_.begin() && (--found, address - found->first + bytes <= found->second.size()))
      return found->second.subspan(address - found->first, bytes);
    violations.push_back("DMA to " + std::to_string(address));
    return {};
  }
  [[nodiscard]] std::uint32_t stride() const { return 4u << (setup.cap >> 32 & 0xf); }
  [[nodiscard]] std::size_t io_queues() const { return completions_.empty() ? 0 : completions_.size() - 1; }
  std::uint64_t cmbmsc = 0;

 private:
  struct Submissions {
    std::uint64_t base;
    std::uint32_t entries;
    std::uint16_t completion_queue;
    std::uint32_t head = 0, tail = 0;
  };
  struct Completions {
    std::uint64_t base;
    std::uint32_t entries;
    bool interrupts;
    std::uint32_t head = 0, tail = 0;
    bool phase = true;
  };
  using Entry = std::array<std::uint32_t, 16>;

  [[nodiscard]] bool cre() const { return (setup.cap >> 57 & 1) == 0 || (cmbmsc & 1) != 0; }
  void disable() {
    csts_ = 0;
    submissions_.clear();
    completions_.clear();
  }
  void start() {
    if ((cc_ & 0x00ff'0000) != 0x0046'0000) violations.emplace_back("entry sizes in CC");
    submissions_ = {{0, {.base = asq_, .entries = (aqa_ & 0xfff) + 1, .completion_queue = 0}}};
    completions_ = {{0, {.base = acq_, .entries = (aqa_ >> 16 & 0xfff) + 1, .interrupts = true}}};
  }
  [[nodiscard]] bool in_use(std::uint64_t address) const {
    return std::ranges::any_of(submissions_, [&](const auto& queue) { return queue.second.base == address; }) ||
           std::ranges::any_of(completions_, [&](const auto& queue) { return queue.second.base == address; });
  }
  void ring(std::uint64_t at, std::uint32_t value) {
    ++doorbell_stores;
    const std::uint64_t index = (at - 0x1000) / stride();
    const auto id = static_cast<std::uint16_t>(index / 2);
    if ((at - 0x1000) % stride() != 0 || !completions_.contains(id))
      return violations.push_back("doorbell " + std::to_string(at));
    if (index % 2 == 1) {
      completions_.at(id).head = value;
    } else if (!submissions_.contains(id) || value >= submissions_.at(id).entries) {
      violations.push_back("tail " + std::to_string(value));
    } else {
      submissions_.at(id).tail = value;
    }
  }

  void execute(std::uint16_t id, Submissions& queue) {
    Entry entry{};
    std::memcpy(entry.data(), at(queue.base + queue.head * 64, 64).data(), 64);
    queue.head = (queue.head + 1) % queue.entries;
    const std::uint16_t to = queue.completion_queue;
    FakeCompletion completion{.command_id = static_cast<std::uint16_t>(entry[0] >> 16),
                              .queue_head = static_cast<std::uint16_t>(queue.head),
                              .queue_id = id,
                              .status = 0,
                              .dword0 = 0};
    if (id == 0) {
      completion.status = admin(entry, completion.dword0);
      if (!completions_.contains(to)) return;
    } else {
      io_commands.push_back(entry);
      completion.status = io(entry);
      if (setup.on_completion && !setup.on_completion(completion)) return;
    }
    write_completion(completions_.at(to), completion);
  }
  void write_completion(Completions& queue, const FakeCompletion& completion) {
    const std::array<std::uint32_t, 4> dwords = {
        completion.dword0, 0, static_cast<std::uint32_t>(completion.queue_id << 16 | completion.queue_head),
        static_cast<std::uint32_t>(completion.status) << 17 | (queue.phase ? 1u << 16 : 0u) | completion.command_id};
    const auto memory = at(queue.base + queue.tail * 16, 16);
    if (!memory.empty()) std::memcpy(memory.data(), dwords.data(), 16);
    queue.tail = (queue.tail + 1) % queue.entries;
    if (queue.tail == 0) queue.phase = !queue.phase;
    if (queue.tail == queue.head) violations.emplace_back("completion queue overrun");
    if (queue.interrupts) ++interrupts_pending;
  }

  std::uint16_t admin(const Entry& entry, std::uint32_t& result) {
    const auto opcode = static_cast<std::uint8_t>(entry[0]);
    if (setup.admin_status)
      if (auto status = setup.admin_status(opcode)) return *status;
    const auto id = static_cast<std::uint16_t>(entry[10]);
    const std::uint32_t entries = (entry[10] >> 16) + 1;
    const std::uint64_t prp = entry[6] | std::uint64_t{entry[7]} << 32;
    switch (opcode) {
      case 0x05:
        if (completions_.contains(id) || id == 0) return 0x101;
        if (entries > (setup.cap & 0xffff) + 1) return 0x102;
        completions_[id] = {.base = prp, .entries = entries, .interrupts = (entry[11] & 2) != 0};
        vectors_asked.push_back(static_cast<std::uint16_t>(entry[11] >> 16));
        return (entry[11] & 1) != 0 ? 0 : 0x4002;
      case 0x01:
        if (!completions_.contains(static_cast<std::uint16_t>(entry[11] >> 16))) return 0x100;
        submissions_[id] = {
            .base = prp, .entries = entries, .completion_queue = static_cast<std::uint16_t>(entry[11] >> 16)};
        return 0;
      case 0x00:
        return submissions_.erase(id) == 1 ? 0 : 0x101;
      case 0x04:
        if (submissions_.contains(id)) return 0x10c;
        return completions_.erase(id) == 1 ? 0 : 0x101;
      case 0x06:
        return identify(entry, prp);
      case 0x09:
        if ((entry[10] & 0xff) != 7) return 0x4002;
        result = static_cast<std::uint32_t>(setup.queue_pairs - 1) * 0x10001;
        return 0;
      default:
        return 0x4001;
    }
  }
  std::uint16_t identify(const Entry& entry, std::uint64_t prp) {
    std::vector<std::byte> page(4096);
    const auto put = [&](std::size_t offset, const auto& value) {
      std::memcpy(page.data() + offset, &value, sizeof value);
    };
    if ((entry[10] & 0xff) == 1) {
      std::memcpy(page.data() + 4, "SN-1                ", 20);
      std::memcpy(page.data() + 24, "fake drive\x1b[31m                          ", 40);
      std::memcpy(page.data() + 64, "0.1     ", 8);
      put(77, setup.mdts);
      put(512, setup.sqes);
      put(513, setup.cqes);
      put(516, setup.namespaces.empty() ? 0u : setup.namespaces.back().id);
      put(536, setup.sgls);
    } else if ((entry[10] & 0xff) == 2) {
      std::vector<std::uint32_t> ids = setup.namespace_list;
      if (ids.empty())
        for (const FakeNamespace& space : setup.namespaces) ids.push_back(space.id);
      if (setup.namespace_list.empty()) std::erase_if(ids, [&](std::uint32_t id) { return id <= entry[1]; });
      std::memcpy(page.data(), ids.data(), std::min<std::size_t>(ids.size(), 1024) * 4);
    } else if ((entry[10] & 0xff) == 3) {
      const auto found = std::ranges::find(setup.namespaces, entry[1], &FakeNamespace::id);
      put(0, std::uint16_t{0x0801});   // EUI64, 8 bytes
      put(12, std::uint16_t{0x0104});  // CSI, 1 byte
      put(16, found == setup.namespaces.end() ? std::uint8_t{0} : found->command_set);
    } else {
      const auto found = std::ranges::find(setup.namespaces, entry[1], &FakeNamespace::id);
      if (found != setup.namespaces.end()) {
        put(0, found->blocks);
        put(26, found->flbas);
        put(99, static_cast<std::uint8_t>(found->write_protected));
        put(128, std::uint32_t{found->block_log2} << 16 | found->metadata_bytes);
      }
    }
    std::memcpy(at(prp, 4096).data(), page.data(), 4096);
    return 0;
  }

  // Every piece of the data, from PRPs or an SGL of data blocks.
  std::vector<std::span<std::byte>> pieces(const Entry& entry, std::uint64_t bytes) {
    std::vector<std::span<std::byte>> result;
    const auto quad = [&](std::uint64_t address) {
      std::uint64_t value = 0;
      if (auto memory = at(address, 8); !memory.empty()) std::memcpy(&value, memory.data(), 8);
      return value;
    };
    const std::uint64_t first = entry[6] | std::uint64_t{entry[7]} << 32;
    const std::uint64_t second = entry[8] | std::uint64_t{entry[9]} << 32;
    if ((entry[0] >> 14 & 3) == 1) {
      if (second >> 56 == 0) return {at(first, second & 0xffff'ffff)};
      if (second >> 56 != 0x30) violations.emplace_back("SGL type");
      for (std::uint64_t offset = 0; offset < (second & 0xffff'ffff); offset += 16)
        result.push_back(at(quad(first + offset), quad(first + offset + 8) & 0xffff'ffff));
      return result;
    }
    std::uint64_t done = std::min<std::uint64_t>(bytes, 4096 - first % 4096);
    result.push_back(at(first, done));
    const bool is_list = bytes - done > 4096;
    for (std::uint64_t index = 0; done < bytes; ++index) {
      const std::uint64_t page = is_list ? quad(second + index * 8) : second;
      if (page % 4096 != 0) violations.emplace_back("PRP offset");
      const std::uint64_t length = std::min<std::uint64_t>(bytes - done, 4096);
      result.push_back(at(page, length));
      done += length;
    }
    return result;
  }
  std::uint16_t io(const Entry& entry) {
    const auto space = std::ranges::find(setup.namespaces, entry[1], &FakeNamespace::id);
    if (space == setup.namespaces.end()) return 0x400b;
    const auto opcode = entry[0] & 0xff;
    if (opcode == 0) return 0;
    const std::uint64_t offset = (entry[10] | std::uint64_t{entry[11]} << 32) << space->block_log2;
    const std::uint64_t bytes = std::uint64_t{(entry[12] & 0xffff) + 1} << space->block_log2;
    if (offset + bytes > space->media.size()) return 0x4080;
    std::uint64_t done = 0;
    for (std::span<std::byte> piece : pieces(entry, bytes)) {
      std::byte* media = space->media.data() + offset + done;
      if (done + piece.size() > bytes) break;
      if (opcode == 2) std::memcpy(piece.data(), media, piece.size());
      if (opcode == 1) std::memcpy(media, piece.data(), piece.size());
      done += piece.size();
    }
    if (done != bytes) violations.emplace_back("data length");
    return 0;
  }

  std::uint32_t cc_ = 0, csts_ = 0, aqa_ = 0;
  std::uint64_t asq_ = 0, acq_ = 0;
  std::uint64_t next_dma_ = 0x10'0000'0000;
  std::map<std::uint64_t, std::span<std::byte>> dma_;
  std::map<std::uint16_t, Submissions> submissions_;
  std::map<std::uint16_t, Completions> completions_;
};

class FakeClock final : public base::Clock {
 public:
  explicit FakeClock(std::shared_ptr<FakeController> device) : device_(std::move(device)) {}
  [[nodiscard]] base::TimePoint now() const override { return base::TimePoint{Duration(device_->now_ns)}; }
  void idle() override { device_->step(); }

 private:
  std::shared_ptr<FakeController> device_;
};

class FakeMmio final : public pci::Mmio {
 public:
  FakeMmio(std::shared_ptr<FakeController> device, unsigned bar) : device_(std::move(device)), bar_(bar) {}
  [[nodiscard]] std::uint64_t size_bytes() const override {
    return bar_ == 0 ? device_->setup.bar_bytes : device_->setup.cmb_bar_bytes;
  }
  [[nodiscard]] BusAddress bus_address() const override {
    return {bar_ == 0 ? FakeController::kBar0 : FakeController::kBar2};
  }
  std::uint32_t load32(BarOffset at) override { return static_cast<std::uint32_t>(device_->load(at.value, 4)); }
  std::uint64_t load64(BarOffset at) override { return device_->load(at.value, 8); }
  void store32(BarOffset at, std::uint32_t value) override { device_->store(at.value, 4, value); }
  void store64(BarOffset at, std::uint64_t value) override { device_->store(at.value, 8, value); }
  [[nodiscard]] std::span<std::byte> memory(BarOffset at, std::uint64_t bytes) override {
    if (bar_ == 0 || at.value != device_->setup.cmb_offset || bytes > device_->cmb.size()) return {};
    return std::span(device_->cmb).first(bytes);
  }

 private:
  std::shared_ptr<FakeController> device_;
  unsigned bar_;
};

class FakeFunction final : public pci::Function {
 public:
  explicit FakeFunction(std::shared_ptr<FakeController> device) : device_(std::move(device)), clock_(device_) {}
  [[nodiscard]] Bdf bdf() const override { return {.bus = 3}; }
  [[nodiscard]] base::Clock& clock() override { return clock_; }
  [[nodiscard]] Result<std::uint32_t> read_config(std::uint16_t offset, unsigned width) override {
    if (device_->is_gone) return width == 4 ? 0xffff'ffffu : 0xffffu;
    switch (offset) {
      case 0x00:
        return device_->setup.identity;
      case 0x04:
        return device_->command;
      case 0x08:
        return device_->setup.class_revision;
      default:
        return 0u;
    }
  }
  [[nodiscard]] Result<void> write_config(std::uint16_t offset, unsigned, std::uint32_t value) override {
    if (offset == 4 && !device_->is_gone) device_->command = static_cast<std::uint16_t>(value);
    return {};
  }
  [[nodiscard]] Result<std::unique_ptr<pci::Mmio>> map_bar(unsigned index) override {
    if (index != 0 && index != 2) return fail({.code = ErrorCode::not_found, .why = "no such BAR"});
    return std::make_unique<FakeMmio>(device_, index);
  }
  [[nodiscard]] Result<pci::DmaBuffer> allocate_dma(std::uint64_t bytes, pci::DmaUse) override {
    auto memory = std::make_unique<std::byte[]>(bytes);
    const std::span<std::byte> span(memory.get(), bytes);
    const DmaAddress address = device_->lend(span);
    return pci::DmaBuffer(span, address,
                          [device = device_, memory = std::move(memory), address] { device->take_back(address); });
  }
  [[nodiscard]] Result<pci::DmaBuffer> share_dma(const pci::DmaBuffer& other) override {
    const DmaAddress address = device_->lend(other.bytes());
    return pci::DmaBuffer(other.bytes(), address, [device = device_, address] { device->take_back(address); });
  }
  [[nodiscard]] Result<void> enable_interrupts(unsigned) override { return {}; }
  [[nodiscard]] bool take_interrupt(unsigned) override { return std::exchange(device_->interrupts_pending, 0) != 0; }
  [[nodiscard]] Result<void> reset() override { return {}; }

 private:
  std::shared_ptr<FakeController> device_;
  FakeClock clock_;
};

}  // namespace barter::drivers::nvme::testing
