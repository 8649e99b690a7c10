// One descriptor at work (docs/devices/nic.md, section 3): its list is read and checked as a whole; then the other end is asked, or
// asks, and the bytes pass in pieces. Nothing is moved before the other end has accepted.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "devices/nic/descriptors.h"
#include "devices/nic/keys.h"
#include "devices/nic/memory_list.h"
#include "devices/nic/register_file.h"
#include "devices/nic/wire.h"
#include "devices/ring_device/channel.h"
#include "fabric/device.h"

namespace barter::devices::nic {

class Job {
 public:
  using Descriptor = nic::Descriptor;
  using Status = CommandStatus;
  // Of channel `number`. All that it is given outlives it.
  Job(std::uint32_t number, RegisterFile& registers, Port& port, Keys& keys);

  // What ring_device::Channel asks of it.
  void attach(fabric::Requester& requester) { requester_ = &requester; }
  [[nodiscard]] std::string start(const ring_device::ChannelSettings&) { return {}; }
  [[nodiscard]] CommandStatus begin(const Descriptor& descriptor);
  [[nodiscard]] CommandStatus advance(std::uint64_t budget_bytes);
  [[nodiscard]] bool is_finished() const { return is_finished_; }
  [[nodiscard]] bool is_stalled() const { return is_stalled_; }
  void forget();
  [[nodiscard]] std::uint64_t done_bytes() const { return moved_bytes_; }
  void publish(std::uint64_t worked_bytes) { registers_.set_counter(number_, worked_bytes); }
  [[nodiscard]] ring_device::JobEnd end(CommandStatus status) const;
  [[nodiscard]] std::uint32_t completions() const { return 1; }
  [[nodiscard]] std::optional<ring_device::Ring::End> request(CommandStatus) const { return std::nullopt; }
  [[nodiscard]] ring_device::Reply reply(std::uint16_t) const { return ring_device::Reply::none; }

 private:
  [[nodiscard]] bool receives() const { return number_ % 2 != 0; }
  [[nodiscard]] Opcode opcode() const { return static_cast<Opcode>(descriptor_.dword0.get(DescriptorDword0::opcode)); }
  [[nodiscard]] bool is_known() const;
  [[nodiscard]] CommandStatus check_fields() const;
  [[nodiscard]] CommandStatus register_region();

  // Of a wire that is there. `done`: go on, now or when the other end has come further; is_finished_ says whether that was all.
  [[nodiscard]] CommandStatus ask();
  [[nodiscard]] CommandStatus give(std::uint64_t budget_bytes);   // send and write: memory to pieces
  [[nodiscard]] CommandStatus fetch(std::uint64_t budget_bytes);  // read: pieces to memory
  [[nodiscard]] CommandStatus claim();                            // receive: the message that is there, if there is one
  [[nodiscard]] CommandStatus receive(std::uint64_t budget_bytes);
  // One piece.
  [[nodiscard]] CommandStatus give_piece(std::uint64_t most_bytes);
  [[nodiscard]] CommandStatus take_piece();
  // What the other end has answered; or it can't any more.
  [[nodiscard]] CommandStatus settle(CommandStatus answer);
  [[nodiscard]] CommandStatus bus_failed(CommandStatus status);

  const std::uint32_t number_;
  RegisterFile& registers_;
  Port& port_;
  Keys& keys_;
  fabric::Requester* requester_ = nullptr;
  Descriptor descriptor_;
  MemoryList memory_;
  Slice slice_;  // a piece while it is filled or emptied

  Lane* lane_ = nullptr;          // where the request is
  std::optional<Ticket> ticket_;  // nothing: none is there
  std::uint64_t message_bytes_ = 0;
  std::uint64_t moved_bytes_ = 0;
  Key key_;
  bool is_finished_ = false;
  bool is_stalled_ = false;
};

}  // namespace barter::devices::nic
