// The link ports of an accelerator: docs/devices/accelerator.md, section 5. Two ends share a Link, whose lock is held while bytes
// move by it and while a grant changes: so whoever has taken a grant back, or sees that the link is down, knows that nothing is
// under way any more.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/accelerator/commands.h"
#include "devices/accelerator/registers.h"

namespace barter::devices::accelerator {

// What one accelerator shows to those at the other ends.
struct LinkOwner {
  std::span<std::byte> memory;
  std::uint64_t unit = 0;
  std::function<bool()> is_on;  // has it power, and Memory Space Enable? Any thread
};

class Link {
 public:
  struct Grant {
    std::uint64_t start = 0;
    GrantSize size;
  };
  struct End {
    const LinkOwner* owner = nullptr;  // null: nobody, or no longer
    std::uint32_t port = 0;
    bool is_enabled = false;
    std::array<Grant, kGrantsOfLink> grants{};
    std::uint64_t read_bytes = 0;
    std::uint64_t written_bytes = 0;
  };
  // With the lock held.
  [[nodiscard]] bool is_up() const;

  std::mutex mutex;  // a leaf: nothing of anybody else is called with it held but LinkOwner::is_on
  std::array<End, 2> ends;
  bool works = true;
};

class LinkPorts {
 public:
  using Report = std::function<void(std::string)>;  // of a violation

  LinkPorts(std::uint32_t count, LinkOwner owner, Report report);
  ~LinkPorts();
  LinkPorts(const LinkPorts&) = delete;
  LinkPorts& operator=(const LinkPorts&) = delete;

  [[nodiscard]] std::uint32_t count() const { return static_cast<std::uint32_t>(ports_.size()); }
  [[nodiscard]] std::uint64_t unit() const { return owner_.unit; }
  // Before anybody uses either. False: one of the ports is not there, or is in use.
  [[nodiscard]] static bool connect(LinkPorts& first, std::uint32_t first_port, LinkPorts& second,
                                    std::uint32_t second_port);
  void set_works(std::uint32_t port, bool works);

  // The host's side; any thread. Nothing: there is no such register.
  [[nodiscard]] std::optional<std::uint64_t> read(std::uint64_t at, unsigned width_bytes);
  [[nodiscard]] bool write(std::uint64_t at, unsigned width_bytes, std::uint64_t value);
  void reset();

  // The engines' side: the peer's memory behind a port that is there.
  [[nodiscard]] CommandStatus fetch(std::uint32_t port, std::uint64_t offset, std::span<std::byte> into);
  [[nodiscard]] CommandStatus store(std::uint32_t port, std::uint64_t offset, std::span<const std::byte> from);

 private:
  struct Port {
    std::shared_ptr<Link> link;
    std::size_t side = 0;
  };
  // Calls move(the peer's memory from there on) with the lock held, if the link is up and all of it is granted.
  template <class Move>
  [[nodiscard]] CommandStatus access(std::uint32_t port, std::uint64_t offset, std::uint64_t bytes, bool is_write,
                                     Move&& move);
  [[nodiscard]] std::optional<std::uint64_t> read_port(Port& port, std::uint64_t at, unsigned width_bytes);
  [[nodiscard]] bool write_grant(Link::Grant& grant, std::uint64_t at, std::uint64_t value, std::string& wrong) const;

  const LinkOwner owner_;
  const Report report_;
  std::vector<Port> ports_;
};

}  // namespace barter::devices::accelerator
