#include "devices/nic/wire.h"

#include <algorithm>
#include <utility>

namespace barter::devices::nic {

Wire::Wire(std::array<std::uint8_t, 2> pairs) {
  for (std::size_t side = 0; side < lanes_.size(); ++side) {
    lanes_[side] = std::vector<Lane>(pairs[side]);
    for (Lane& lane : lanes_[side]) {
      lane.asks = side;
      for (Lane::Piece& piece : lane.pieces) piece.slice = make_slice();
    }
  }
}

void Wire::attach(std::size_t side, fabric::Requester& requester) {
  const std::scoped_lock lock(mutex_);
  ends_[side].requester = &requester;
}

void Wire::leave(std::size_t side) {
  const std::scoped_lock lock(mutex_);
  ends_[side] = {};
  refresh();
}

void Wire::set_ready(std::size_t side, bool is_ready) {
  const std::scoped_lock lock(mutex_);
  ends_[side].is_ready = is_ready;
  refresh();
}

bool Wire::is_up() {
  const std::scoped_lock lock(mutex_);
  return refresh();
}

void Wire::break_off() {
  const std::scoped_lock lock(mutex_);
  go_down();
}

bool Wire::refresh() {
  const bool is_up = std::ranges::all_of(
      ends_, [](const End& end) { return end.requester != nullptr && end.is_ready && end.requester->may_master(); });
  if (was_up_ && !is_up) go_down();
  was_up_ = is_up;
  return is_up;
}

// An answer that nothing has to follow has come across: both ends agree on how it ended.
void Wire::go_down() {
  ++epoch_;
  for (auto& lanes : lanes_)
    for (Lane& lane : lanes)
      if (lane.standing != Standing::answered || lane.put_pieces != lane.taken_pieces) move_to(lane, Standing::down);
}

void Wire::move_to(Lane& lane, Standing standing) {
  const auto is_open = [](Standing of) { return of == Standing::asked || of == Standing::under_way; };
  if (is_open(lane.standing) != is_open(standing)) {
    if (is_open(standing))
      open_[lane.asks].fetch_add(1, std::memory_order_release);
    else
      open_[lane.asks].fetch_sub(1, std::memory_order_release);
  }
  lane.standing = standing;
  if (standing == Standing::down || standing == Standing::dropped) lane.number = 0;
}

Wire::View Wire::show(const Lane& lane, Ticket ticket) const {
  if (lane.number != ticket.number)
    return {.ticket = ticket, .standing = ticket.epoch != epoch_ ? Standing::down : Standing::dropped};
  return {.ticket = ticket,
          .request = lane.request,
          .standing = lane.standing,
          .answer = lane.answer,
          .was_seen = lane.was_seen,
          .can_put = lane.put_pieces - lane.taken_pieces < kPiecesInLane,
          .can_take = lane.put_pieces != lane.taken_pieces,
          .put_bytes = lane.put_bytes,
          .taken_bytes = lane.taken_bytes};
}

Wire::View Wire::view(const Lane& lane, Ticket ticket) {
  const std::scoped_lock lock(mutex_);
  refresh();
  return show(lane, ticket);
}

std::optional<Ticket> Wire::ask(Lane& lane, const Request& request) {
  const std::scoped_lock lock(mutex_);
  if (!refresh()) return std::nullopt;
  lane.number = ++last_number_;
  lane.request = request;
  lane.was_seen = false;
  lane.put_bytes = lane.taken_bytes = 0;
  lane.put_pieces = lane.taken_pieces = 0;
  move_to(lane, Standing::asked);
  return Ticket{.number = lane.number, .epoch = epoch_};
}

void Wire::close(Lane& lane, Ticket ticket) {
  const std::scoped_lock lock(mutex_);
  if (lane.number == ticket.number) move_to(lane, Standing::dropped);
}

std::optional<Wire::View> Wire::look(Lane& lane) {
  const std::scoped_lock lock(mutex_);
  refresh();
  if (lane.number == 0 || lane.standing == Standing::answered) return std::nullopt;
  const View view = show(lane, {.number = lane.number, .epoch = epoch_});
  lane.was_seen = true;
  return view;
}

bool Wire::accept(Lane& lane, Ticket ticket) {
  const std::scoped_lock lock(mutex_);
  if (!refresh() || lane.number != ticket.number || lane.standing != Standing::asked) return false;
  move_to(lane, Standing::under_way);
  return true;
}

bool Wire::answer(Lane& lane, Ticket ticket, CommandStatus answer) {
  const std::scoped_lock lock(mutex_);
  if (!refresh() || lane.number != ticket.number || lane.standing == Standing::answered) return false;
  lane.answer = answer;
  move_to(lane, Standing::answered);
  return true;
}

bool Wire::put(Lane& lane, Ticket ticket, Slice& slice, std::uint32_t bytes) {
  const std::scoped_lock lock(mutex_);
  refresh();
  if (!is_under_way(lane, ticket) || lane.put_pieces - lane.taken_pieces == kPiecesInLane) return false;
  Lane::Piece& piece = lane.pieces[lane.put_pieces++ % kPiecesInLane];
  std::swap(piece.slice, slice);
  piece.bytes = bytes;
  lane.put_bytes += bytes;
  return true;
}

// Of a read the answer may have come behind the last pieces.
std::uint32_t Wire::take(Lane& lane, Ticket ticket, Slice& slice) {
  const std::scoped_lock lock(mutex_);
  refresh();
  if (lane.number != ticket.number || lane.put_pieces == lane.taken_pieces) return 0;
  Lane::Piece& piece = lane.pieces[lane.taken_pieces++ % kPiecesInLane];
  std::swap(piece.slice, slice);
  lane.taken_bytes += piece.bytes;
  return piece.bytes;
}

Port::~Port() {
  if (wire_ != nullptr) wire_->leave(side_);
}

bool Port::join(Port& first, Port& second) {
  if (&first == &second || first.wire_ != nullptr || second.wire_ != nullptr) return false;
  const auto wire = std::make_shared<Wire>(std::array{first.pairs_, second.pairs_});
  std::size_t side = 0;
  for (Port* port : {&first, &second}) {
    port->wire_ = wire;
    port->side_ = side++;
    if (port->requester_ != nullptr) wire->attach(port->side_, *port->requester_);
    wire->set_ready(port->side_, port->is_ready_);
  }
  return true;
}

void Port::attach(fabric::Requester& requester) {
  requester_ = &requester;
  if (wire_ != nullptr) wire_->attach(side_, requester);
}

void Port::set_ready(bool is_ready) {
  is_ready_ = is_ready;
  if (wire_ != nullptr) wire_->set_ready(side_, is_ready);
}

}  // namespace barter::devices::nic
