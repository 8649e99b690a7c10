// The links between accelerators as the Exchange sees them. What stands behind is found anew whenever a driver comes up, because
// it uses the drivers.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "machine/device_links.h"
#include "peer/interconnect.h"
#include "unit.h"

namespace barter::sim {

class Links final : public peer::Interconnect {
 public:
  explicit Links(Break broken) : broken_(broken) {}

  // Between those that are up now.
  void find(std::vector<Unit>& units);
  // A driver is about to go, and no mapping goes by a link of it any more. False: one does.
  [[nodiscard]] bool forget();

  [[nodiscard]] std::string_view name() const override { return "link"; }
  [[nodiscard]] Answer ask(Bdf client, Bdf provider) override;
  [[nodiscard]] std::vector<Fact> facts(Bdf client, Bdf provider) override;
  [[nodiscard]] Result<LinkAddress> open(const Way& way) override;
  [[nodiscard]] Result<void> close(const Way& way, LinkAddress address) override;

 private:
  const Break broken_;
  std::unique_ptr<machine::DeviceLinks> found_;  // null: there are none
  std::uint32_t open_ = 0;                       // ways
};

}  // namespace barter::sim
