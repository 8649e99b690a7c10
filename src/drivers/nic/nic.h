// A driver for the NIC of docs/devices/nic.md, over pci::Function: it can't tell a software device from a real one. What the
// device says is checked before it is used.
//
//   auto nic = nic::Nic::create(std::move(function), {});
//   auto pair = (*nic)->create_pair({});
//   (*pair)->receives().submit({.opcode = Opcode::receive, .memory = gpu_memory, .tag = 3});
//   (*pair)->receives().ring();
//   (*pair)->sends().submit({.opcode = Opcode::send, .memory = drive_memory, .tag = 7});  // to the pair of this number there
//   (*pair)->sends().ring();
//   while (*(*pair)->sends().poll(results) == 0) clock.idle();
//
// Threads: one at a time uses a Nic, but for withdraw(), which any thread may call; each Channel may have a thread of its own once
// it exists.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "drivers/ring_device/options.h"
#include "pci/function.h"
#include "peer/segments.h"

namespace barter::drivers::nic {

// Section 3 of the specification.
enum class Opcode : std::uint8_t { nop = 0x00, send = 0x01, write = 0x02, read = 0x03, expose = 0x04, receive = 0x10 };

// A region that one end has registered for the other, as the other names it.
struct RemoteKey {
  std::uint32_t value = 0;
  friend constexpr bool operator==(RemoteKey, RemoteKey) = default;
};

// Segments are addresses as the NIC's own requests must carry them, cut as Nic::segment_limits() says. The span need not outlive
// submit().
struct Command {
  Opcode opcode = Opcode::send;
  std::span<const DmaSegment> memory;   // of all but nop: this end's
  RemoteKey key;                        // of write and read: the other end's region
  std::uint64_t remote_offset = 0;      // of write and read: within that
  Access remote_access = Access::read;  // of expose: what the other end may do
  std::uint64_t tag = 0;                // comes back with the result
  bool interrupt = false;               // after it, send the channel's interrupt
};

struct CommandResult {
  std::uint64_t tag = 0;
  std::uint64_t value = 0;  // bytes that were moved, or of the message of a receive; the key of expose
  std::uint8_t status = 0;  // 0: done; otherwise describe_status() has the words
  [[nodiscard]] bool ok() const { return status == 0; }
};
// Those that are nobody's mistake, for whoever can do something about them.
inline constexpr std::uint8_t kWireDown = 7;
inline constexpr std::uint8_t kNoReceive = 8;
inline constexpr std::uint8_t kMessageTooLong = 9;
inline constexpr std::uint8_t kRemoteRefused = 11;
[[nodiscard]] std::string describe_status(std::uint8_t status);

using NicOptions = ring_device::Options;

struct NicFacts {
  std::uint32_t pairs = 0;
  std::uint32_t max_ring_entries = 0;
  std::uint32_t max_segments = 0;  // of a list
  unsigned address_bits = 0;
  std::uint64_t boundary_bytes = 0;  // that no segment crosses; 0: there is none
  std::uint64_t max_message_bytes = 0;
  std::uint32_t keys = 0;
};

struct PairOptions {
  std::optional<std::uint32_t> number;  // none: the first that is free
  std::uint32_t entries = 64;           // of each channel: a power of two from 2; fewer if the device takes fewer
  std::uint32_t segments = 64;          // of the longest list; fewer if the device takes fewer
};

// One thread at a time. Submitting and polling allocate nothing and take no lock.
class Channel {
 public:
  virtual ~Channel() = default;
  [[nodiscard]] virtual std::uint32_t capacity() const = 0;      // commands that can be in flight
  [[nodiscard]] virtual std::uint32_t max_segments() const = 0;  // of the list of a command
  [[nodiscard]] virtual std::uint32_t in_flight() const = 0;
  // Queues a command; the NIC sees it after ring(). ErrorCode::exhausted when the ring is full; invalid_argument and
  // out_of_range for what the NIC would refuse, such as an opcode of the other channel of the pair.
  [[nodiscard]] virtual Result<void> submit(const Command& command) = 0;
  virtual void ring() = 0;
  // Takes up to results.size() completions. device_failed when the NIC answers what it was never asked, device_gone when it
  // has left, timed_out when nothing gets on (a receive waits for its message, and that is no reason); the channel is then of no
  // more use.
  [[nodiscard]] virtual Result<std::size_t> poll(std::span<CommandResult> results) = 0;
  // Has an interrupt arrived since the last call? Always false without NicOptions::use_interrupts.
  [[nodiscard]] virtual bool take_interrupt() = 0;
  // The bytes of this end's memory that the channel has moved since it exists.
  [[nodiscard]] virtual std::uint64_t moved_bytes() = 0;
};

// The two channels of a queue pair. Destroying it stops both, or the whole NIC if it doesn't answer: afterwards no command of the
// pair touches memory any more. What the other end does by keys goes on.
class Pair {
 public:
  virtual ~Pair() = default;
  [[nodiscard]] virtual std::uint32_t number() const = 0;
  [[nodiscard]] virtual Channel& sends() = 0;
  [[nodiscard]] virtual Channel& receives() = 0;
};

class Nic {
 public:
  // Resets what is left of an earlier user, and enables.
  [[nodiscard]] static Result<std::unique_ptr<Nic>> create(std::unique_ptr<pci::Function> function, NicOptions options);
  // Disables it: nobody reaches its registered regions any more.
  virtual ~Nic() = default;
  [[nodiscard]] virtual pci::Function& function() = 0;
  [[nodiscard]] virtual const NicFacts& facts() const = 0;
  // What the list of one command may be, but for the number of segments, which a channel may have fewer of (max_segments).
  [[nodiscard]] virtual peer::SegmentLimits segment_limits() const = 0;
  // Is there an other end, ready and able?
  [[nodiscard]] virtual bool is_wire_up() = 0;
  // ErrorCode::exhausted when all pairs, or the one that is wanted, are in use; out_of_range when it is not there. The NIC must
  // outlive it.
  [[nodiscard]] virtual Result<std::unique_ptr<Pair>> create_pair(PairOptions options) = 0;
  // When it returns without an error, not a byte moves by this key any more. timed_out: the NIC has not ended what was under way
  // (one piece, so that this is a device that fails). A device that is gone reaches nothing. Any thread.
  [[nodiscard]] virtual Result<void> withdraw(RemoteKey key) = 0;
};

}  // namespace barter::drivers::nic
