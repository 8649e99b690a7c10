// The rings of one channel, as the host keeps them, and what is in flight. open(), push(), ring() and poll() touch preallocated
// memory only.
//
// A command lives in a slot from open() to its completion. Its id names the slot (bits 11:0) and which use of the slot it is
// (15:12), so a completion that comes twice, or for a command that was never sent, is recognised and not followed.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "drivers/ring_device/device.h"

namespace barter::drivers::ring_device {

inline constexpr std::uint32_t kMaxRingEntries = 4096;

// What a channel needs to run, once the device has one that is free. The device outlives it.
struct RingParts {
  Device& device;
  bool takes_requests = false;  // DeviceKind::is_request(): the commands of the channel may make some
  bool is_patient = false;      // they wait for others than the device: as long as it runs the channel, none is late
  std::uint32_t number = 0;
  std::uint32_t entries = 0;
  pci::DmaBuffer descriptors;
  pci::DmaBuffer completions;
};
struct RingWish {
  std::uint32_t first_channel = 0;  // of those that will do
  std::uint32_t channels = 0;
  std::string_view which;         // such they are, for the message that all are in use: "" or " of this kind"
  std::uint32_t entries = 0;      // rounded up to a power of two
  std::uint32_t max_entries = 0;  // of the device
};
// ErrorCode::exhausted when all these channels are in use.
[[nodiscard]] Result<RingParts> prepare_ring(Device& device, const RingWish& wish);

class Ring {
 public:
  // The channel is in use from here on.
  explicit Ring(RingParts parts);
  // Stops the channel, or the whole device if it doesn't answer: then it doesn't touch the rings any more, nor what a command of
  // this channel named.
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // The device runs the channel, or the error says why not.
  [[nodiscard]] Result<void> start();
  [[nodiscard]] std::uint32_t number() const { return parts_.number; }
  [[nodiscard]] bool takes_requests() const { return parts_.takes_requests; }
  [[nodiscard]] BarOffset place() const { return place_; }
  [[nodiscard]] std::uint32_t capacity() const { return static_cast<std::uint32_t>(slots_.size()); }
  [[nodiscard]] std::uint32_t in_flight() const { return capacity() - free_count_; }
  [[nodiscard]] bool take_interrupt();
  // The id of the command whose request poll() gave out last, if it was not answered yet: now it is.
  [[nodiscard]] std::optional<std::uint16_t> take_request() { return std::exchange(asking_, std::nullopt); }

  // Is there room for a command, in a channel that is of use? If not: why.
  [[nodiscard]] bool has_room() const { return free_count_ != 0 && !broken_; }
  [[nodiscard]] Error no_room() const;
  struct Opened {
    std::size_t slot = 0;
    CommandWord word;  // with its id in it
  };
  // There is room. `bytes` are what the completion will tell, where DeviceKind::counts_bytes.
  [[nodiscard]] Opened open(std::uint64_t tag, std::uint64_t bytes = 0) {
    const std::uint16_t index = free_[--free_count_];
    Slot& slot = slots_[index];
    slot.tag = tag;
    slot.bytes = bytes;
    slot.is_open = true;
    return {.slot = index, .word = CommandWord{}.with(CommandWord::id, slot.next_id)};
  }
  // What a completion says. The slot is that of its command, which is out of it now.
  struct Answer {
    std::uint64_t tag = 0;
    std::uint64_t result = 0;
    std::uint8_t status = 0;
    std::size_t slot = 0;
  };
  template <class Descriptor>
  void push(const Descriptor& descriptor) {
    static_assert(sizeof descriptor == kDescriptorBytes);
    std::memcpy(parts_.descriptors.bytes().data() + tail_ * kDescriptorBytes, &descriptor, sizeof descriptor);
    tail_ = (tail_ + 1) % parts_.entries;
  }
  void ring();

  // Takes up to results.size() completions, each as {tag, result, status}, and ends with a request, if there is one. worked()
  // tells how many bytes the channel has worked through; it is asked now and then. Can the command of that slot have ended with
  // such an answer? is_possible() says so where a DeviceKind can't.
  template <class CommandResult, class Worked, class IsPossible = decltype([](const Answer&) { return true; })>
  [[nodiscard]] Result<std::size_t> poll(std::span<CommandResult> results, Worked&& worked,
                                         IsPossible&& is_possible = {}) {
    if (broken_) return fail(*broken_);
    std::size_t taken = 0;
    for (Answer answer; taken < results.size() && !asking_ && take(answer); ++taken) {
      if (!is_possible(std::as_const(answer))) {
        disbelieve(answer);
        break;
      }
      results[taken] = {answer.tag, answer.result, answer.status};
    }
    if (taken != 0) give_back();
    if (--polls_until_clock_ == 0) {
      polls_until_clock_ = kPollsPerClockLook;
      // The device does not get on while it waits for us.
      if (in_flight() == 0 || asking_)
        quiet_since_ = {};
      else
        look_at_the_clock(worked());
    }
    // What was taken before the trouble is delivered first; the next call tells the trouble.
    if (broken_ && taken == 0) return fail(*broken_);
    return taken;
  }

 private:
  // poll() looks at the clock once in so many calls: a look costs as much as several empty polls.
  static constexpr unsigned kPollsPerClockLook = 64;
  struct Slot {
    std::uint64_t tag = 0;
    std::uint64_t bytes = 0;
    std::uint16_t next_id = 0;
    bool is_open = false;
  };
  [[nodiscard]] ChannelStatusBits status() const;
  [[nodiscard]] std::string words(std::string_view doing) const;
  static std::uint32_t load_dword(std::byte* at, std::memory_order order) {
    return std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(at)).load(order);
  }
  // The last dword is read first and with acquire: what the device wrote before it, the rest of the entry and the data, is
  // seen after it (docs/memory-order.md, rules 3 and 4).
  [[nodiscard]] bool take(Answer& answer) {
    std::byte* const at = parts_.completions.bytes().data() + completion_head_ * kCompletionBytes;
    const std::uint32_t word = load_dword(at + CompletionWord::kOffset, std::memory_order_acquire);
    return CompletionWord::from(word).get(CompletionWord::phase) == phase_ && accept(at, word, answer);
  }
  [[nodiscard]] bool accept(std::byte* entry, std::uint32_t word, Answer& answer);
  void disbelieve(const Answer& answer);
  void give_back();
  void look_at_the_clock(std::uint64_t worked_bytes);
  void break_with(Error error);

  RingParts parts_;
  BarOffset place_;
  std::vector<Slot> slots_;
  std::vector<std::uint16_t> free_;  // a stack; the first free_count_ are free
  std::uint32_t free_count_ = 0;
  std::uint32_t tail_ = 0;
  std::uint32_t rung_tail_ = 0;
  std::uint32_t completion_head_ = 0;
  bool phase_ = true;  // the memory is zero at first, and the first pass writes ones
  unsigned polls_until_clock_ = kPollsPerClockLook;
  base::TimePoint quiet_since_{};  // the origin: not looked yet
  std::uint64_t worked_when_quiet_ = 0;
  std::optional<std::uint16_t> asking_;
  std::optional<Error> broken_;
};

}  // namespace barter::drivers::ring_device
