// Messages and remote memory accesses by NICs, out of and into whatever a pointer points to: what ibv_post_send(3) and its kin are.
//
//   auto here = barter::QueuePair::open(*machine->nic("nic0"));
//   auto there = barter::QueuePair::open(*machine->nic("nic1"));   // joined by their number to each other
//   there->post_receive(into->cpu_bytes());                        // an accelerator's memory
//   here->send(from->cpu_bytes());                                 // another's: no byte of it passes through host memory
//   auto message = there->receive();
//
// Memory can also be shown to the other end, which then reads and writes it without a word to this one:
//
//   auto shown = there->expose(into->cpu_bytes(), {.access = barter::Access::write});
//   here->write(from->cpu_bytes(), {.key = *shown->key(), .offset = 4096});
//
// A message or an access takes device memory that a region shows, managed memory, ordinary memory of the program, and mixtures; what
// is no device's is copied by way of a buffer. Leases of mappings by the NIC (Nic::map) do as well.
//
// One thread at a time uses a queue pair and what it has exposed. On a machine that runs threaded, different queue pairs may have threads
// of their own; revocation by others may go on, as always.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <barter/io.hpp>
#include <barter/machine.hpp>
#include <barter/memory.hpp>
#include <barter/registration.hpp>
#include <barter/result.hpp>
#include <barter/units.hpp>

namespace barter {

namespace machine {
class ExposedKeys;
}  // namespace machine
namespace transfer {
class PairState;
}  // namespace transfer

// How the other end names memory that was shown to it. A number: it is carried there by a message, or as the program likes. A key that
// was withdrawn names nothing, and never anything newer.
struct RemoteMemory {
  std::uint32_t key = 0;
  std::uint64_t offset = 0;  // within what was exposed
};

struct PairOptions {
  std::optional<std::uint32_t> number;  // none: the first that is free
  // How long a message waits for a receive at the other end, and memory that moves is waited for.
  Duration deadline = std::chrono::seconds(10);
};

struct Received {
  std::uint64_t bytes = 0;  // of the message; it lies at the start of what was posted
  IoReport way;
};

// Memory that the other end of the wire reads or writes by its key. Its owner may take it back at any time: then the key is withdrawn
// at once, and nobody waits. Pinned memory is promised to stay.
class ExposedMemory {
 public:
  ExposedMemory(ExposedMemory&&) noexcept;
  ExposedMemory& operator=(ExposedMemory&&) noexcept;
  // Withdraws the key: afterwards not a byte moves by it.
  ~ExposedMemory();
  // Whether the key is of use now.
  [[nodiscard]] bool is_shown() const;
  // The key. Where the memory was taken back for now, or has moved, it is mapped anew and has another one, which the other end must be
  // told; ErrorCode::revoked where it was taken back for good, invalid_argument where that needs the queue pair and it is gone.
  [[nodiscard]] Result<std::uint32_t> key();
  [[nodiscard]] const Registration& registration() const { return registration_; }

 private:
  friend class QueuePair;
  ExposedMemory(const std::shared_ptr<transfer::PairState>& pair, Registration registration, Access access);
  [[nodiscard]] Result<void> show();
  void withdraw();

  std::weak_ptr<transfer::PairState> pair_;
  Registration registration_;  // keeps the machine
  std::shared_ptr<machine::ExposedKeys> keys_;
  Access access_;
  std::uint64_t ticket_ = 0;  // 0: nothing is shown
  std::uint32_t key_ = 0;
};

// One queue pair of a NIC, and its twin of the same number at the other end of the wire.
class QueuePair {
 public:
  // ErrorCode::exhausted when all pairs, or this one, are in use.
  [[nodiscard]] static Result<QueuePair> open(const Nic& nic, PairOptions options = {});
  QueuePair(QueuePair&&) noexcept;
  QueuePair& operator=(QueuePair&&) noexcept;
  // Ends what is in flight: no receive that was posted touches memory any more.
  ~QueuePair();
  [[nodiscard]] std::uint32_t number() const;

  // Returns when the other end has written all of it to its memory. Where that has posted no receive, it is waited for until the
  // deadline: timed_out. out_of_range: more than its receive takes, or than a message can be. device_failed: the wire is down, or went
  // down, or one of the two buses has failed; then the bytes there are undefined.
  [[nodiscard]] Result<IoReport> send(std::span<const std::byte> memory);
  [[nodiscard]] Result<void> send(std::span<const Lease> memory);

  // Memory for the next message that no receive is posted for yet. It is in use until its message is there: whoever takes it back waits
  // for that, and cuts the NIC off at the deadline. What is ordinary memory is written to by receive(), not before. exhausted: as many
  // receives as there can be.
  [[nodiscard]] Result<void> post_receive(std::span<std::byte> memory);
  [[nodiscard]] Result<void> post_receive(std::vector<Lease> memory);
  // The message of the oldest receive that was posted: waits for it. invalid_argument: none is posted; timed_out: none has come by the
  // deadline, and the receive stays posted. After any other error that receive has ended, and all of them where the pair
  // itself has failed.
  [[nodiscard]] Result<Received> receive(Duration deadline = std::chrono::seconds(10));

  // Shows the memory to the other end, which may do what `access` says. unsupported for ordinary memory of the program.
  [[nodiscard]] Result<ExposedMemory> expose(std::span<std::byte> memory, RegisterOptions options = {});
  // The other end's memory, by what it has exposed. refused: it has no such key (any more), or not as many bytes, or does not permit
  // this. Otherwise as send().
  [[nodiscard]] Result<IoReport> write(std::span<const std::byte> from, RemoteMemory to);
  [[nodiscard]] Result<IoReport> read(RemoteMemory from, std::span<std::byte> into);

 private:
  explicit QueuePair(std::shared_ptr<transfer::PairState> state);
  std::shared_ptr<transfer::PairState> state_;  // its own, but for a call of ExposedMemory::key
};

[[nodiscard]] Result<Registration> register_memory(const Nic& importer, std::span<std::byte> memory,
                                                   RegisterOptions options = {});

}  // namespace barter
