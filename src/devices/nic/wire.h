// The wire between two NICs: lanes of requests, which either end asks and the other one answers, and the pieces of memory that pass.
// Both ends share a Wire. Neither touches memory with its lock held: a piece is filled and emptied in a Slice of whoever does so, and
// changes hands.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "devices/nic/descriptors.h"
#include "fabric/device.h"

namespace barter::devices::nic {

inline constexpr std::uint32_t kPieceBytes = 65536;  // REMOTE promises that no piece is longer
inline constexpr std::size_t kPiecesInLane = 4;      // under way at a time

using Slice = std::unique_ptr<std::byte[]>;  // kPieceBytes
[[nodiscard]] inline Slice make_slice() { return std::make_unique_for_overwrite<std::byte[]>(kPieceBytes); }

struct Request {
  Opcode what = Opcode::send;  // or write, or read
  Key key;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

// Whose request this is, long after the lane has another one.
struct Ticket {
  std::uint64_t number = 0;
  std::uint64_t epoch = 0;  // how often the wire had gone down
};

enum class Standing : std::uint8_t {
  asked,
  under_way,
  answered,
  dropped,  // whoever asked does not want it any more
  down,     // the wire went down
};

// The requests of one pair of one end, one at a time. Guarded by the wire's mutex.
struct Lane {
  struct Piece {
    Slice slice;
    std::uint32_t bytes = 0;
  };
  std::size_t asks = 0;      // the end that asks
  std::uint64_t number = 0;  // of the request; 0: there is none
  Standing standing = Standing::dropped;
  Request request;
  CommandStatus answer = CommandStatus::done;
  bool was_seen = false;          // by the other end, since it was asked
  std::uint64_t put_bytes = 0;    // into the lane, since it was asked
  std::uint64_t taken_bytes = 0;  // out of it
  std::array<Piece, kPiecesInLane> pieces;
  std::uint64_t put_pieces = 0;
  std::uint64_t taken_pieces = 0;
};

class Wire {
 public:
  // How many pairs either end has.
  explicit Wire(std::array<std::uint8_t, 2> pairs);

  // The ends. Any thread.
  void attach(std::size_t side, fabric::Requester& requester);
  void leave(std::size_t side);  // from here on its requester is not asked any more
  void set_ready(std::size_t side, bool is_ready);
  [[nodiscard]] bool is_up();
  // One end has found that it may not master the bus.
  void break_off();

  [[nodiscard]] std::uint32_t pairs(std::size_t side) const { return static_cast<std::uint32_t>(lanes_[side].size()); }
  [[nodiscard]] Lane& lane(std::size_t asks, std::uint32_t pair) { return lanes_[asks][pair]; }
  // Has that end asked anything that is not answered? Takes no lock.
  [[nodiscard]] bool is_asked_by(std::size_t side) const { return open_[side].load(std::memory_order_acquire) != 0; }

  struct View {
    Ticket ticket;
    Request request;
    Standing standing = Standing::down;
    CommandStatus answer = CommandStatus::done;
    bool was_seen = false;
    bool can_put = false;
    bool can_take = false;
    std::uint64_t put_bytes = 0;
    std::uint64_t taken_bytes = 0;
  };
  [[nodiscard]] View view(const Lane& lane, Ticket ticket);

  // Who asks: nothing is a wire that is down. close() ends it, answered or not.
  [[nodiscard]] std::optional<Ticket> ask(Lane& lane, const Request& request);
  void close(Lane& lane, Ticket ticket);
  // Who answers: the request that is there; it has seen it now. accept() lets the pieces come. False: it is not there any more.
  [[nodiscard]] std::optional<View> look(Lane& lane);
  [[nodiscard]] bool accept(Lane& lane, Ticket ticket);
  [[nodiscard]] bool answer(Lane& lane, Ticket ticket, CommandStatus answer);
  // Both: the slice changes hands for another one. False, or no bytes: the request has gone, or there is no room, or no piece.
  bool put(Lane& lane, Ticket ticket, Slice& slice, std::uint32_t bytes);
  [[nodiscard]] std::uint32_t take(Lane& lane, Ticket ticket, Slice& slice);

 private:
  struct End {
    fabric::Requester* requester = nullptr;  // null: it is not there
    bool is_ready = false;
  };
  // With the mutex held, as all that follow. Looks whether the wire has gone down.
  bool refresh();
  void go_down();
  void move_to(Lane& lane, Standing standing);
  [[nodiscard]] View show(const Lane& lane, Ticket ticket) const;
  [[nodiscard]] bool is_under_way(const Lane& lane, Ticket ticket) const {
    return lane.number == ticket.number && lane.standing == Standing::under_way;
  }

  std::mutex mutex_;  // a leaf: nothing of anybody else is called with it held but Requester::may_master
  std::array<End, 2> ends_;
  bool was_up_ = false;
  std::uint64_t epoch_ = 0;
  std::uint64_t last_number_ = 0;
  std::array<std::vector<Lane>, 2> lanes_;  // by the end that asks
  std::array<std::atomic<std::uint32_t>, 2> open_{};
};

// An end, whether there is a wire or not.
class Port {
 public:
  explicit Port(std::uint8_t pairs) : pairs_(pairs) {}
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  // Before anybody uses either. False: one has a wire, or they are one.
  [[nodiscard]] static bool join(Port& first, Port& second);
  void attach(fabric::Requester& requester);
  void set_ready(bool is_ready);
  [[nodiscard]] bool is_up() const { return wire_ != nullptr && wire_->is_up(); }

  [[nodiscard]] Wire* wire() const { return wire_.get(); }  // null: there is none
  [[nodiscard]] std::size_t side() const { return side_; }
  // Of a wire that is there; null: the other end has no such pair.
  [[nodiscard]] Lane* incoming(std::uint32_t pair) const {
    return pair < wire_->pairs(1 - side_) ? &wire_->lane(1 - side_, pair) : nullptr;
  }

 private:
  const std::uint8_t pairs_;
  fabric::Requester* requester_ = nullptr;
  bool is_ready_ = false;
  std::shared_ptr<Wire> wire_;
  std::size_t side_ = 0;
};

}  // namespace barter::devices::nic
