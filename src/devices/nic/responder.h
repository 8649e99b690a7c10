// Carries out what the other end asks for without a channel of this one: writes and reads by a key, and sends that find no receive.
// Belongs to the device's step, after the channels.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "devices/nic/keys.h"
#include "devices/nic/wire.h"
#include "fabric/device.h"

namespace barter::devices::nic {

class Responder {
 public:
  // All that it is given outlives it.
  Responder(Port& port, Keys& keys, std::uint64_t bytes_per_step)
      : port_(port), keys_(keys), bytes_per_step_(bytes_per_step), slice_(make_slice()) {}
  void attach(fabric::Requester& requester) { requester_ = &requester; }

  // Tells whether it did anything. has_no_receive(pair): has the pair's channel looked in this step and found none?
  [[nodiscard]] bool step(const std::function<bool(std::uint32_t)>& has_no_receive);

 private:
  [[nodiscard]] bool refuse(Lane& lane, const Wire::View& view, bool has_no_receive);
  [[nodiscard]] bool serve(Lane& lane, Wire::View view);
  // One piece; its bytes, or nothing: there is none now.
  [[nodiscard]] std::optional<std::uint32_t> write_piece(Lane& lane, const Wire::View& view);
  [[nodiscard]] std::optional<std::uint32_t> read_piece(Lane& lane, const Wire::View& view, std::uint64_t most_bytes);
  // Calls move(address, bytes) for each part of the memory of a piece that is in slice_, while REMOTE tells of it. False: the request
  // ends here, with an error.
  template <class Move>
  [[nodiscard]] bool move_piece(Lane& lane, const Wire::View& view, std::uint64_t done_bytes, std::uint32_t bytes,
                                Move&& move);
  // Null: there is no such key, or it does not permit this.
  [[nodiscard]] const Region* find(const Request& request) const;

  Port& port_;
  Keys& keys_;
  const std::uint64_t bytes_per_step_;  // of each pair
  fabric::Requester* requester_ = nullptr;
  Slice slice_;
};

}  // namespace barter::devices::nic
