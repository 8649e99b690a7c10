// Links between accelerators as a way beside PCIe (peer/interconnect.h): which ports are two ends of one link is asked of the
// accelerators themselves, and believed where both ends agree.
//
// What the client may reach is granted, byte for byte, at the end of whoever owns the memory, and taken back there: what the
// client's accelerator does or fails to do can't change that.
//
// Threads: any. The units outlive it.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "drivers/accelerator/accelerator.h"
#include "machine/state.h"
#include "peer/interconnect.h"

namespace barter::machine {

class DeviceLinks final : public peer::Interconnect {
 public:
  // Enables what it finds. Null: there is no link that both ends tell of.
  [[nodiscard]] static std::unique_ptr<DeviceLinks> find(std::span<const std::unique_ptr<DriveUnit>> units);

  [[nodiscard]] std::string_view name() const override { return "link"; }
  [[nodiscard]] Answer ask(Bdf client, Bdf provider) override;
  [[nodiscard]] std::vector<Fact> facts(Bdf client, Bdf provider) override;
  [[nodiscard]] Result<LinkAddress> open(const Way& way) override;
  [[nodiscard]] Result<void> close(const Way& way, LinkAddress address) override;

 private:
  struct End {
    const DriveUnit* unit = nullptr;
    std::uint32_t port = 0;
    [[nodiscard]] drivers::accelerator::Accelerator& accelerator() const { return *unit->accelerator; }
  };
  // As one of the two sees it.
  struct Wire {
    End client;
    End provider;
  };
  struct Opened {
    Way way;
    LinkAddress address;
    End provider;
    End client;
    std::uint32_t grant = 0;
  };
  [[nodiscard]] static std::optional<Wire> follow(std::span<const std::unique_ptr<DriveUnit>> units,
                                                  const DriveUnit& unit, std::uint32_t port);
  [[nodiscard]] static bool is_up(const Wire& wire);
  [[nodiscard]] const Wire* wire_between(Bdf client, Bdf provider) const;

  std::vector<Wire> wires_;  // each link twice: once for each direction
  std::mutex mutex_;         // guards what follows
  std::vector<Opened> opened_;
};

}  // namespace barter::machine
