// The public Broker, over BrokerState.
#include <utility>

#include "barter/sharing.hpp"
#include "sharing/broker_state.h"

namespace barter {

Broker::Broker(std::shared_ptr<sharing::BrokerState> state) : state_(std::move(state)) {}
Broker::Broker(Broker&&) noexcept = default;
Broker& Broker::operator=(Broker&& other) noexcept {
  const Broker old(std::move(*this));
  state_ = std::move(other.state_);
  return *this;
}
Broker::~Broker() {
  if (state_) state_->close();
}

Result<Broker> Broker::open(const Machine& machine, const std::filesystem::path& socket, BrokerOptions options) {
  auto state = sharing::BrokerState::open(machine, socket, std::move(options));
  if (!state) return std::unexpected(std::move(state.error()));
  return Broker(std::move(*state));
}

std::unique_lock<std::mutex> Broker::hold_machine() { return std::unique_lock(state_->machine_mutex()); }

BrokerCounters Broker::counters() const {
  const sharing::LiveCounters& live = state_->counters;
  return {.clients = live.clients,
          .regions = live.regions,
          .mappings = live.mappings,
          .leases = live.leases,
          .connected = live.connected,
          .asked = live.asked,
          .unanswered = live.unanswered,
          .late_importers = live.late_importers,
          .refused_descriptors = live.refused_descriptors,
          .malformed = live.malformed,
          .foreign = live.foreign};
}

}  // namespace barter
