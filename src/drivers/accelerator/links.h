// The accelerator's links to others (docs/devices/accelerator.md, section 5): what is at the other end, and what the other end may
// do in our memory.
//
// Threads: any, at any time.
#pragma once
#include <bitset>
#include <cstdint>
#include <mutex>
#include <vector>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"

namespace barter::drivers::accelerator {

struct Device;

inline constexpr std::size_t kGrantsOfLink = 128;

class Links {
 public:
  explicit Links(Device& device);

  [[nodiscard]] std::uint32_t count() const { return static_cast<std::uint32_t>(ports_.size()); }

  // What a port says now. ErrorCode::device_gone, and nothing of what it says is to be believed.
  struct State {
    bool is_wired = false;
    bool is_up = false;
    // Of the accelerator at the other end, if it is wired: what it calls itself, the port there, and how much memory it has.
    std::uint64_t peer_unit = 0;
    std::uint32_t peer_port = 0;
    std::uint64_t peer_bytes = 0;
  };
  [[nodiscard]] Result<State> state(std::uint32_t port);
  // A link is up when both ends are enabled.
  [[nodiscard]] Result<void> enable(std::uint32_t port, bool enabled);
  // Returns once nothing moves by the link any more; it must be going down, for a reason that is known.
  [[nodiscard]] Result<void> wait_until_down(std::uint32_t port);

  // Lets the other end do this with a part of our memory. ErrorCode::exhausted: kGrantsOfLink parts are granted. The number is for
  // revoke().
  [[nodiscard]] Result<std::uint32_t> grant(std::uint32_t port, MemoryRange local, Access access);
  // When it returns, no access of the other end reaches that part by this grant: also where our device is gone, unless the
  // other end says otherwise.
  [[nodiscard]] Result<void> revoke(std::uint32_t port, std::uint32_t grant);
  [[nodiscard]] std::uint32_t granted(std::uint32_t port) const;  // how many now

  // What our engines have moved by the link since the device was reset.
  struct Traffic {
    std::uint64_t read_bytes = 0;
    std::uint64_t written_bytes = 0;
  };
  [[nodiscard]] Traffic traffic(std::uint32_t port);

  // How our engines name a byte of the memory behind a port.
  [[nodiscard]] static LinkAddress address(std::uint32_t port, std::uint64_t offset);

 private:
  [[nodiscard]] Error error(ErrorCode code, std::uint32_t port, const char* doing, std::string why) const;

  Device& device_;
  mutable std::mutex mutex_;  // guards which grants are in use, and their registers
  std::vector<std::bitset<kGrantsOfLink>> ports_;
};

}  // namespace barter::drivers::accelerator
