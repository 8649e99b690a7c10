// For tests: a device behind pci::Function with no bus below it, which can lie. A test or fuzz target derives from FakeDevice
// and says what its registers do; the driver's DMA memory is lent to it by address. It does one thing at a time, whenever
// the driver waits.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pci/function.h"

namespace barter::drivers::testing {

class FakeDevice {
 public:
  virtual ~FakeDevice() = default;
  virtual std::uint64_t load(std::uint64_t at, unsigned width) = 0;
  virtual void store(std::uint64_t at, unsigned width, std::uint64_t value) = 0;
  virtual void step() = 0;

  std::uint32_t identity = 0xba001b36;
  std::uint32_t class_revision = 0x12000001;
  std::uint64_t bar_bytes = 0x10000;  // BAR 0
  std::vector<std::byte> memory;      // BAR 2; empty: there is none
  bool is_gone = false;
  bool keeps_bus_master = false;  // does not let it be taken
  std::uint16_t command = 0;      // config space
  std::int64_t now_ns = 0;

  // The driver's memory at an address, or nothing if not all of it was lent.
  [[nodiscard]] std::span<std::byte> lent(std::uint64_t at, std::uint64_t bytes) {
    auto found = lent_.upper_bound(at);
    if (found == lent_.begin()) return {};
    --found;
    const std::uint64_t offset = at - found->first;
    if (offset > found->second.size() || bytes > found->second.size() - offset) return {};
    return found->second.subspan(offset, bytes);
  }
  [[nodiscard]] std::size_t lent_pieces() const { return lent_.size(); }
  std::uint64_t lend(std::span<std::byte> bytes) {
    const std::uint64_t at = next_;
    next_ += (bytes.size() / 4096 + 2) * 4096;
    lent_.emplace(at, bytes);
    return at;
  }
  void take_back(std::uint64_t at) { lent_.erase(at); }

 private:
  std::map<std::uint64_t, std::span<std::byte>> lent_;
  std::uint64_t next_ = 0x10'0000;
};

class FakeClock final : public base::Clock {
 public:
  explicit FakeClock(std::shared_ptr<FakeDevice> device) : device_(std::move(device)) {}
  [[nodiscard]] base::TimePoint now() const override { return base::TimePoint{Duration{device_->now_ns}}; }
  void idle() override {
    device_->now_ns += 1000;
    if (!device_->is_gone) device_->step();
  }

 private:
  std::shared_ptr<FakeDevice> device_;
};

class FakeMmio final : public pci::Mmio {
 public:
  FakeMmio(std::shared_ptr<FakeDevice> device, unsigned bar) : device_(std::move(device)), bar_(bar) {}
  [[nodiscard]] std::uint64_t size_bytes() const override {
    return bar_ == 0 ? device_->bar_bytes : device_->memory.size();
  }
  [[nodiscard]] BusAddress bus_address() const override { return {std::uint64_t{0x80'0000'0000} * (bar_ + 1)}; }
  std::uint32_t load32(BarOffset at) override { return static_cast<std::uint32_t>(load(at, 4)); }
  std::uint64_t load64(BarOffset at) override { return load(at, 8); }
  void store32(BarOffset at, std::uint32_t value) override { store(at, 4, value); }
  void store64(BarOffset at, std::uint64_t value) override { store(at, 8, value); }
  [[nodiscard]] std::span<std::byte> memory(BarOffset at, std::uint64_t bytes) override {
    if (bar_ == 0 || at.value > size_bytes() || bytes > size_bytes() - at.value) return {};
    return std::span(device_->memory).subspan(at.value, bytes);
  }

 private:
  std::uint64_t load(BarOffset at, unsigned width) {
    if (device_->is_gone) return width == 8 ? ~std::uint64_t{0} : 0xffffffff;
    if (bar_ == 0) return device_->load(at.value, width);
    std::uint64_t value = 0;
    std::memcpy(&value, device_->memory.data() + at.value, width);
    return value;
  }
  void store(BarOffset at, unsigned width, std::uint64_t value) {
    if (device_->is_gone) return;
    if (bar_ == 0)
      device_->store(at.value, width, value);
    else
      std::memcpy(device_->memory.data() + at.value, &value, width);
  }
  std::shared_ptr<FakeDevice> device_;
  unsigned bar_;
};

class FakeFunction final : public pci::Function {
 public:
  explicit FakeFunction(std::shared_ptr<FakeDevice> device) : device_(std::move(device)), clock_(device_) {}
  [[nodiscard]] Bdf bdf() const override { return {.bus = 3}; }
  [[nodiscard]] base::Clock& clock() override { return clock_; }
  [[nodiscard]] Result<std::uint32_t> read_config(std::uint16_t offset, unsigned width) override {
    if (device_->is_gone) return width == 4 ? 0xffffffffu : 0xffffu;
    if (offset == 0) return device_->identity;
    if (offset == 4) return device_->command;
    return offset == 8 ? device_->class_revision : 0u;
  }
  [[nodiscard]] Result<void> write_config(std::uint16_t offset, unsigned, std::uint32_t value) override {
    if (offset == 4 && !device_->is_gone)
      device_->command = static_cast<std::uint16_t>(value | (device_->keeps_bus_master ? 4u : 0u));
    return {};
  }
  [[nodiscard]] Result<std::unique_ptr<pci::Mmio>> map_bar(unsigned index) override {
    if (index != 0 && (index != 2 || device_->memory.empty()))
      return fail({.code = ErrorCode::not_found, .doing = "mapping a BAR", .why = "no such BAR"});
    return std::make_unique<FakeMmio>(device_, index);
  }
  [[nodiscard]] Result<pci::DmaBuffer> allocate_dma(std::uint64_t bytes, pci::DmaUse) override {
    auto memory = std::make_unique<std::byte[]>(bytes);
    const std::span<std::byte> span(memory.get(), bytes);
    const std::uint64_t at = device_->lend(span);
    return pci::DmaBuffer(span, {at}, [device = device_, memory = std::move(memory), at] { device->take_back(at); });
  }
  [[nodiscard]] Result<pci::DmaBuffer> share_dma(const pci::DmaBuffer& other) override {
    const std::uint64_t at = device_->lend(other.bytes());
    return pci::DmaBuffer(other.bytes(), {at}, [device = device_, at] { device->take_back(at); });
  }
  [[nodiscard]] Result<void> enable_interrupts(unsigned) override { return {}; }
  [[nodiscard]] bool take_interrupt(unsigned) override { return false; }
  [[nodiscard]] Result<void> reset() override { return {}; }

 private:
  std::shared_ptr<FakeDevice> device_;
  FakeClock clock_;
};

}  // namespace barter::drivers::testing
