// A driver for the accelerator of docs/devices/accelerator.md, over pci::Function: it can't tell a software device from a
// real one. What the device says is checked before it is used.
//
//   auto gpu = accelerator::Accelerator::create(std::move(function), {});
//   auto channel = (*gpu)->create_channel(accelerator::Kind::compute, {});
//   (*channel)->submit(checksum({.from = Operand::local(0), .bytes = 1_MiB}));
//   (*channel)->ring();
//   while (*(*channel)->poll(results) == 0) clock.idle();
//
// Threads: one at a time uses an Accelerator; each Channel may have a thread of its own once it exists.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "drivers/accelerator/command.h"
#include "drivers/ring_device/options.h"
#include "pci/function.h"

namespace barter::drivers::accelerator {

class AddressSpace;
class Links;

using AcceleratorOptions = ring_device::Options;

struct AcceleratorFacts {
  std::uint64_t memory_bytes = 0;
  std::uint64_t window_bytes = 0;  // of BAR 2
  std::uint32_t copy_channels = 0;
  std::uint32_t compute_channels = 0;
  std::uint32_t max_ring_entries = 0;
  std::uint32_t link_ports = 0;
  std::uint64_t unit = 0;  // what it calls itself; 0: it has no such number
  bool makes_page_requests = false;
};

struct ChannelOptions {
  std::uint32_t entries = 64;  // a power of two from 2; fewer if the device takes fewer
  // A command that finds no page, or one that it may not write, asks for it and waits, instead of ending with a page fault.
  // Takes 4 entries at least. ErrorCode::unsupported of create_channel, where AcceleratorFacts says that the device makes no requests.
  bool page_requests = false;
};

// One thread at a time. Submitting and polling allocate nothing and take no lock. Destroying a channel stops it, or the
// whole device if it doesn't answer: afterwards no command of this channel touches memory any more.
class Channel {
 public:
  virtual ~Channel() = default;
  [[nodiscard]] virtual std::uint32_t number() const = 0;
  [[nodiscard]] virtual std::uint32_t capacity() const = 0;  // commands that can be in flight
  [[nodiscard]] virtual std::uint32_t in_flight() const = 0;
  // Queues a command; the device sees it after ring(). ErrorCode::exhausted when the ring is full; invalid_argument and
  // out_of_range for what the device would refuse.
  [[nodiscard]] virtual Result<void> submit(const Command& command) = 0;
  virtual void ring() = 0;
  // Takes up to results.size() completions. One of them may be a page request (CommandResult::is_page_request): nothing more comes
  // before it is answered, and the command's own completion comes after. device_failed when the device answers what it was never asked, device_gone
  // when it has left, timed_out when nothing gets on; the channel is then of no more use.
  [[nodiscard]] virtual Result<std::size_t> poll(std::span<CommandResult> results) = 0;
  // To the page request that came last: the page is in the page tables now, and the command goes on; or it is not to be had, and
  // the command ends with a page fault. ErrorCode::invalid_argument if no command waits.
  enum class PageAnswer : std::uint8_t { there, refused };
  [[nodiscard]] virtual Result<void> answer(PageAnswer answer) = 0;
  // Has an interrupt arrived since the last call? Always false without AcceleratorOptions::use_interrupts.
  [[nodiscard]] virtual bool take_interrupt() = 0;
  // The bytes that the channel has worked through, as it counts them in its memory; none if the window doesn't show it.
  [[nodiscard]] virtual std::optional<std::uint64_t> progress() = 0;
};

class Accelerator {
 public:
  // Resets what is left of an earlier user, and enables.
  [[nodiscard]] static Result<std::unique_ptr<Accelerator>> create(std::unique_ptr<pci::Function> function,
                                                                   AcceleratorOptions options);
  virtual ~Accelerator() = default;
  [[nodiscard]] virtual pci::Function& function() = 0;
  [[nodiscard]] virtual const AcceleratorFacts& facts() const = 0;

  // What the window shows: local addresses from `offset` on. All of the memory, where the window is large enough.
  [[nodiscard]] virtual MemoryRange window() const = 0;
  // What may be used through the window: all of it but the driver's own last 64 KiB of where it stood at first.
  [[nodiscard]] virtual MemoryRange usable_window() const = 0;
  [[nodiscard]] virtual BusAddress window_address() const = 0;
  // The CPU's view of the window, or of a part of it; empty if there is none.
  [[nodiscard]] virtual std::span<std::byte> window_bytes(MemoryRange part) = 0;
  // Moves the window to begin at a multiple of 64 KiB. An error once pin_window() was called: whoever has a right to what
  // it shows would reach something else.
  [[nodiscard]] virtual Result<void> move_window(std::uint64_t local_offset) = 0;
  virtual void pin_window() = 0;

  // ErrorCode::exhausted when all channels of this kind are in use. The accelerator must outlive it.
  [[nodiscard]] virtual Result<std::unique_ptr<Channel>> create_channel(Kind kind, ChannelOptions options) = 0;
  // The device's page tables. There is one address space; it lives as long as the accelerator.
  [[nodiscard]] virtual AddressSpace& address_space() = 0;
  // Its links to other accelerators (links.h), disabled and with nothing granted at first.
  [[nodiscard]] virtual Links& links() = 0;
};

}  // namespace barter::drivers::accelerator
