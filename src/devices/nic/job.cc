#include "devices/nic/job.h"

#include <algorithm>

namespace barter::devices::nic {

using fabric::Completion;

Job::Job(std::uint32_t number, RegisterFile& registers, Port& port, Keys& keys)
    : number_(number),
      registers_(registers),
      port_(port),
      keys_(keys),
      memory_(registers.fixed()),
      slice_(make_slice()) {}

CommandStatus Job::begin(const Descriptor& descriptor) {
  descriptor_ = descriptor;
  ticket_.reset();
  message_bytes_ = moved_bytes_ = 0;
  key_ = {};
  is_finished_ = is_stalled_ = false;
  if (!is_known()) return CommandStatus::invalid_opcode;
  if (const auto checked = check_fields(); checked != CommandStatus::done) return checked;
  if (opcode() == Opcode::nop) {
    is_finished_ = true;
    return CommandStatus::done;
  }
  if (const auto loaded = memory_.load(*requester_, descriptor); loaded != CommandStatus::done) return loaded;
  return opcode() == Opcode::register_ ? register_region() : CommandStatus::done;
}

bool Job::is_known() const {
  switch (opcode()) {
    case Opcode::nop:
      return true;
    case Opcode::send:
    case Opcode::write:
    case Opcode::read:
    case Opcode::register_:
      return !receives();
    case Opcode::receive:
      return receives();
    default:
      return false;
  }
}

CommandStatus Job::check_fields() const {
  const DescriptorDword1 lists = descriptor_.dword1;
  const bool is_register = opcode() == Opcode::register_;
  const bool names_region = opcode() == Opcode::write || opcode() == Opcode::read;
  const bool has_access = lists.get(DescriptorDword1::may_read) || lists.get(DescriptorDword1::may_write);
  const bool has_reserved = (descriptor_.dword0.raw & DescriptorDword0::kReserved) != 0 ||
                            lists.get(DescriptorDword1::reserved) != 0 || descriptor_.reserved_behind_key != 0 ||
                            std::ranges::any_of(descriptor_.reserved, [](std::uint64_t word) { return word != 0; }) ||
                            (!names_region && (descriptor_.key != 0 || descriptor_.offset != 0));
  if (has_reserved || has_access != is_register) return CommandStatus::invalid_field;
  if (opcode() == Opcode::nop) {
    const bool is_empty = lists.raw == 0 && descriptor_.address == 0 && descriptor_.bytes == 0;
    return is_empty ? CommandStatus::done : CommandStatus::invalid_field;
  }
  const FixedRegisters& fixed = registers_.fixed();
  const std::uint64_t most = is_register ? kMaxRegionBytes : fixed.message_bytes;
  const std::uint16_t segments = lists.get(DescriptorDword1::segments);
  const bool can_be = descriptor_.bytes != 0 && descriptor_.bytes <= most && segments <= fixed.segments &&
                      (segments == 0 || descriptor_.address % kListAlignment == 0);
  return can_be ? CommandStatus::done : CommandStatus::invalid_field;
}

CommandStatus Job::register_region() {
  const DescriptorDword1 lists = descriptor_.dword1;
  const auto key = keys_.add(
      {.may_read = lists.get(DescriptorDword1::may_read), .may_write = lists.get(DescriptorDword1::may_write)},
      memory_.segments());
  if (!key) return CommandStatus::keys_in_use;
  key_ = *key;
  is_finished_ = true;
  return CommandStatus::done;
}

CommandStatus Job::advance(std::uint64_t budget_bytes) {
  is_stalled_ = true;  // until something is done
  if (receives()) return port_.wire() == nullptr ? CommandStatus::done : receive(budget_bytes);
  if (port_.wire() == nullptr) return CommandStatus::wire_down;
  if (!ticket_) return ask();
  return opcode() == Opcode::read ? fetch(budget_bytes) : give(budget_bytes);
}

CommandStatus Job::ask() {
  lane_ = &port_.wire()->lane(port_.side(), number_ / 2);
  ticket_ = port_.wire()->ask(
      *lane_,
      {.what = opcode(), .key = Key::from(descriptor_.key), .offset = descriptor_.offset, .bytes = descriptor_.bytes});
  is_stalled_ = false;
  return ticket_ ? CommandStatus::done : CommandStatus::wire_down;
}

CommandStatus Job::settle(CommandStatus answer) {
  forget();
  is_finished_ = answer == CommandStatus::done;
  is_stalled_ = false;
  return answer;
}

CommandStatus Job::give(std::uint64_t budget_bytes) {
  while (true) {
    const Wire::View view = port_.wire()->view(*lane_, *ticket_);
    if (view.standing == Standing::answered) return settle(view.answer);
    if (view.standing == Standing::down || view.standing == Standing::dropped) return settle(CommandStatus::wire_down);
    const std::uint64_t most = std::min(budget_bytes, descriptor_.bytes - moved_bytes_);
    if (view.standing == Standing::asked || !view.can_put || most == 0) return CommandStatus::done;
    const std::uint64_t before = moved_bytes_;
    if (const auto given = give_piece(most); given != CommandStatus::done || !ticket_) return given;
    budget_bytes -= moved_bytes_ - before;
  }
}

CommandStatus Job::give_piece(std::uint64_t most_bytes) {
  const auto bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(most_bytes, kPieceBytes));
  const bool was_read = memory_.walk({slice_.get(), bytes}, [&](DmaAddress from, std::span<std::byte> into) {
    if (requester_->read(from, into) != Completion::successful) return false;
    moved_bytes_ += into.size();
    return true;
  });
  is_stalled_ = false;
  if (!was_read) return bus_failed(CommandStatus::read_error);
  port_.wire()->put(*lane_, *ticket_, slice_, bytes);  // or the request has gone: the next look tells
  return CommandStatus::done;
}

CommandStatus Job::fetch(std::uint64_t budget_bytes) {
  const std::uint64_t end_bytes = budget_bytes < ~moved_bytes_ ? moved_bytes_ + budget_bytes : ~std::uint64_t{0};
  while (true) {
    const Wire::View view = port_.wire()->view(*lane_, *ticket_);
    if (view.standing == Standing::down || view.standing == Standing::dropped) return settle(CommandStatus::wire_down);
    const bool is_over = view.standing == Standing::answered;
    if (is_over && (view.answer != CommandStatus::done || !view.can_take)) return settle(view.answer);
    if (!view.can_take || moved_bytes_ >= end_bytes) return CommandStatus::done;
    if (const auto taken = take_piece(); taken != CommandStatus::done || !ticket_) return taken;
  }
}

CommandStatus Job::take_piece() {
  const std::uint32_t bytes = port_.wire()->take(*lane_, *ticket_, slice_);
  if (bytes == 0) return CommandStatus::done;  // it has gone: the next look tells
  const bool was_written = memory_.walk({slice_.get(), bytes}, [&](DmaAddress to, std::span<std::byte> from) {
    if (requester_->write(to, from) != Completion::successful) return false;
    moved_bytes_ += from.size();
    return true;
  });
  is_stalled_ = false;
  return was_written ? CommandStatus::done : bus_failed(CommandStatus::write_error);
}

CommandStatus Job::claim() {
  if (!port_.wire()->is_asked_by(1 - port_.side())) return CommandStatus::done;
  lane_ = port_.incoming(number_ / 2);
  if (lane_ == nullptr) return CommandStatus::done;
  const auto asked = port_.wire()->look(*lane_);
  if (!asked || asked->standing != Standing::asked || asked->request.what != Opcode::send) return CommandStatus::done;
  is_stalled_ = false;
  if (asked->request.bytes > descriptor_.bytes) {
    if (!port_.wire()->answer(*lane_, asked->ticket, CommandStatus::too_long)) return CommandStatus::done;
    message_bytes_ = asked->request.bytes;
    return CommandStatus::too_long;
  }
  if (!port_.wire()->accept(*lane_, asked->ticket)) return CommandStatus::done;
  ticket_ = asked->ticket;
  message_bytes_ = asked->request.bytes;
  return CommandStatus::done;
}

CommandStatus Job::receive(std::uint64_t budget_bytes) {
  if (!ticket_)
    if (const auto claimed = claim(); claimed != CommandStatus::done || !ticket_) return claimed;
  const std::uint64_t end_bytes = budget_bytes < ~moved_bytes_ ? moved_bytes_ + budget_bytes : ~std::uint64_t{0};
  while (true) {
    const Wire::View view = port_.wire()->view(*lane_, *ticket_);
    if (view.standing == Standing::dropped) return settle(CommandStatus::other_end_error);
    if (view.standing == Standing::down) {
      if (moved_bytes_ != 0) return settle(CommandStatus::wire_down);
      ticket_.reset();  // it goes on waiting
      return CommandStatus::done;
    }
    if (!view.can_take || moved_bytes_ >= end_bytes) return CommandStatus::done;
    if (const auto taken = take_piece(); taken != CommandStatus::done || !ticket_) return taken;
    if (moved_bytes_ == message_bytes_ && port_.wire()->answer(*lane_, *ticket_, CommandStatus::done))
      return settle(CommandStatus::done);
  }
}

CommandStatus Job::bus_failed(CommandStatus status) {
  if (requester_->may_master()) return settle(status);
  // No completion can be written now. Once it may master the bus again, the wire tells that it was down.
  port_.wire()->break_off();
  return CommandStatus::done;
}

// Of a request that has been answered this changes nothing but the place that it takes.
void Job::forget() {
  if (!ticket_) return;
  if (receives())
    (void)port_.wire()->answer(*lane_, *ticket_, CommandStatus::other_end_error);
  else
    port_.wire()->close(*lane_, *ticket_);
  ticket_.reset();
}

ring_device::JobEnd Job::end(CommandStatus status) const {
  // What the bus refuses, and what the other end does, is nobody's mistake here; all else is the host's.
  const bool is_mistake = status == CommandStatus::invalid_opcode || status == CommandStatus::invalid_field ||
                          status == CommandStatus::invalid_list;
  if (status == CommandStatus::done && opcode() == Opcode::register_) return {.result = key_.raw};
  if (status == CommandStatus::too_long && receives()) return {.result = message_bytes_};
  return {.result = moved_bytes_, .is_mistake = is_mistake};
}

}  // namespace barter::devices::nic
