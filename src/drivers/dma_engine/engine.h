// A driver for the DMA engine of docs/devices/dma_engine.md, over pci::Function: it can't tell a software device from a real
// one. What the device says is checked before it is used.
//
//   auto engine = dma_engine::Engine::create(std::move(function), {});
//   auto channel = (*engine)->create_channel({});
//   (*channel)->submit({.from = drive_memory, .to = gpu_memory, .tag = 7});  // two lists of segments, cut as they like
//   (*channel)->ring();
//   while (*(*channel)->poll(results) == 0) clock.idle();
//
// Threads: one at a time uses an Engine; each Channel may have a thread of its own once it exists.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "barter/address.hpp"
#include "barter/result.hpp"
#include "drivers/ring_device/options.h"
#include "pci/function.h"

namespace barter::drivers::dma_engine {

// Section 3 of the specification.
enum class Opcode : std::uint8_t { nop = 0, move = 1, fill = 2 };

// Segments are addresses as the engine's own requests must carry them. Both sides have the same number of bytes. The spans need
// not outlive submit().
struct Command {
  Opcode opcode = Opcode::move;
  std::span<const DmaSegment> from;  // of move
  std::uint64_t pattern = 0;         // of fill
  std::span<const DmaSegment> to;    // of move and fill
  std::uint64_t tag = 0;             // comes back with the result
  bool interrupt = false;            // after it, send the channel's interrupt
};

struct CommandResult {
  std::uint64_t tag = 0;
  std::uint64_t moved_bytes = 0;  // all, or those before the failure
  std::uint8_t status = 0;        // 0: done; otherwise describe_status() has the words
  [[nodiscard]] bool ok() const { return status == 0; }
};
[[nodiscard]] std::string describe_status(std::uint8_t status);

using EngineOptions = ring_device::Options;

struct EngineFacts {
  std::uint32_t channels = 0;
  std::uint32_t max_ring_entries = 0;
  std::uint32_t max_segments = 0;  // of a list
  std::uint64_t max_transfer_bytes = 0;
};

struct ChannelOptions {
  std::uint32_t entries = 64;   // a power of two from 2; fewer if the device takes fewer
  std::uint32_t segments = 64;  // of the longest list, on either side; fewer if the device takes fewer
};

// One thread at a time. Submitting and polling allocate nothing and take no lock. Destroying a channel stops it, or the whole
// engine if it doesn't answer: afterwards no command of this channel touches memory any more.
class Channel {
 public:
  virtual ~Channel() = default;
  [[nodiscard]] virtual std::uint32_t number() const = 0;
  [[nodiscard]] virtual std::uint32_t capacity() const = 0;      // commands that can be in flight
  [[nodiscard]] virtual std::uint32_t max_segments() const = 0;  // of each list of a command
  [[nodiscard]] virtual std::uint32_t in_flight() const = 0;
  // Queues a command; the engine sees it after ring(). ErrorCode::exhausted when the ring is full; invalid_argument and
  // out_of_range for what the engine would refuse.
  [[nodiscard]] virtual Result<void> submit(const Command& command) = 0;
  virtual void ring() = 0;
  // Takes up to results.size() completions. device_failed when the engine answers what it was never asked, device_gone when it
  // has left, timed_out when nothing gets on; the channel is then of no more use.
  [[nodiscard]] virtual Result<std::size_t> poll(std::span<CommandResult> results) = 0;
  // Has an interrupt arrived since the last call? Always false without EngineOptions::use_interrupts.
  [[nodiscard]] virtual bool take_interrupt() = 0;
  // The bytes that the channel has written since it exists.
  [[nodiscard]] virtual std::uint64_t moved_bytes() = 0;
};

class Engine {
 public:
  // Resets what is left of an earlier user, and enables.
  [[nodiscard]] static Result<std::unique_ptr<Engine>> create(std::unique_ptr<pci::Function> function,
                                                              EngineOptions options);
  virtual ~Engine() = default;
  [[nodiscard]] virtual pci::Function& function() = 0;
  [[nodiscard]] virtual const EngineFacts& facts() const = 0;
  // ErrorCode::exhausted when all channels are in use. The engine must outlive it.
  [[nodiscard]] virtual Result<std::unique_ptr<Channel>> create_channel(ChannelOptions options) = 0;
};

}  // namespace barter::drivers::dma_engine
