#include "devices/nic/responder.h"

#include <algorithm>
#include <span>

namespace barter::devices::nic {

using fabric::Completion;

bool Responder::step(const std::function<bool(std::uint32_t)>& has_no_receive) {
  Wire* const wire = port_.wire();
  const std::size_t other = 1 - port_.side();
  if (wire == nullptr || !wire->is_asked_by(other)) return false;
  bool has_worked = false;
  for (std::uint32_t pair = 0; pair < wire->pairs(other); ++pair) {
    Lane& lane = wire->lane(other, pair);
    const auto view = wire->look(lane);
    if (!view) continue;
    const bool is_send = view->request.what == Opcode::send;
    if (is_send ? refuse(lane, *view, has_no_receive(pair)) : serve(lane, *view)) has_worked = true;
  }
  return has_worked;
}

// A send that was there before the channel's last turn, and that no receive has taken in it. One that has come since may find the
// receive that the host has put there before it.
bool Responder::refuse(Lane& lane, const Wire::View& view, bool has_no_receive) {
  if (view.standing != Standing::asked) return false;
  if (!view.was_seen) return true;
  return has_no_receive && port_.wire()->answer(lane, view.ticket, CommandStatus::no_receive);
}

bool Responder::serve(Lane& lane, Wire::View view) {
  Wire& wire = *port_.wire();
  bool has_worked = false;
  if (view.standing == Standing::asked) {
    if (find(view.request) == nullptr) return wire.answer(lane, view.ticket, CommandStatus::not_permitted);
    if (!wire.accept(lane, view.ticket)) return true;
    has_worked = true;
  }
  const bool is_write = view.request.what == Opcode::write;
  std::uint64_t budget_bytes = bytes_per_step_;
  while (budget_bytes != 0) {
    view = wire.view(lane, view.ticket);
    if (view.standing != Standing::under_way) break;
    const auto moved = is_write ? write_piece(lane, view) : read_piece(lane, view, budget_bytes);
    if (!moved) break;
    has_worked = true;
    budget_bytes -= std::min<std::uint64_t>(budget_bytes, *moved);
  }
  return has_worked;
}

const Region* Responder::find(const Request& request) const {
  const Region* const region = keys_.find(request.key);
  const bool permits =
      region != nullptr && region->permits(request.what == Opcode::write, request.offset, request.bytes);
  return permits ? region : nullptr;
}

template <class Move>
bool Responder::move_piece(Lane& lane, const Wire::View& view, std::uint64_t done_bytes, std::uint32_t bytes,
                           Move&& move) {
  Wire& wire = *port_.wire();
  const Region* region = nullptr;
  bool is_moved = false;
  {
    const Keys::Busy busy(keys_);
    region = find(view.request);
    is_moved = region != nullptr && region->walk(view.request.offset + done_bytes, {slice_.get(), bytes}, move);
  }
  if (is_moved) return true;
  if (region != nullptr && !requester_->may_master())
    wire.break_off();
  else
    (void)wire.answer(lane, view.ticket,
                      region == nullptr ? CommandStatus::not_permitted : CommandStatus::other_end_error);
  return false;
}

std::optional<std::uint32_t> Responder::write_piece(Lane& lane, const Wire::View& view) {
  if (!view.can_take) return std::nullopt;
  const std::uint32_t bytes = port_.wire()->take(lane, view.ticket, slice_);
  if (bytes == 0) return std::nullopt;  // the request has gone
  const bool is_moved = move_piece(lane, view, view.taken_bytes, bytes, [&](DmaAddress to, std::span<std::byte> from) {
    return requester_->write(to, from) == Completion::successful;
  });
  if (is_moved && view.taken_bytes + bytes == view.request.bytes)
    (void)port_.wire()->answer(lane, view.ticket, CommandStatus::done);
  return bytes;
}

std::optional<std::uint32_t> Responder::read_piece(Lane& lane, const Wire::View& view, std::uint64_t most_bytes) {
  const std::uint64_t rest = view.request.bytes - view.put_bytes;
  if (!view.can_put || rest == 0) return std::nullopt;
  const auto bytes = static_cast<std::uint32_t>(std::min({most_bytes, rest, std::uint64_t{kPieceBytes}}));
  const bool is_moved = move_piece(lane, view, view.put_bytes, bytes, [&](DmaAddress from, std::span<std::byte> into) {
    return requester_->read(from, into) == Completion::successful;
  });
  if (is_moved && port_.wire()->put(lane, view.ticket, slice_, bytes) && bytes == rest)
    (void)port_.wire()->answer(lane, view.ticket, CommandStatus::done);
  return bytes;
}

}  // namespace barter::devices::nic
