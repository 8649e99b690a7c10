#include "devices/nic/nic_model.h"

#include <utility>

#include <fmt/format.h>

namespace barter::devices::nic {

Nic::Nic(fabric::FunctionIdentity identity, const FixedRegisters& fixed, std::uint64_t bytes_per_step)
    : identity_(std::move(identity)),
      port_(fixed.pairs),
      keys_(fixed.keys),
      registers_(fixed, port_, keys_, [this](std::string what) { record(std::move(what)); }),
      responder_(port_, keys_, bytes_per_step),
      stepper_(registers_, [this] { stop(); }) {
  for (std::uint32_t number = 0; number < fixed.channels(); ++number)
    stepper_.add({ring_device::Ring(number, registers_, [this](std::string what) { record(std::move(what)); }),
                  Job(number, registers_, port_, keys_), bytes_per_step});
}

void Nic::attach(fabric::Requester& requester) {
  port_.attach(requester);
  responder_.attach(requester);
  stepper_.attach(requester);
}

void Nic::record(std::string what) {
  const std::scoped_lock lock(violation_mutex_);
  violation(std::move(what));
}

std::uint64_t Nic::read_register(unsigned bar, BarOffset at, unsigned width_bytes) {
  if (bar == ring_device::kRegisterBar) return registers_.read(at.value, width_bytes);
  record(fmt::format("a read of BAR {}, which it has not", bar));
  return ~std::uint64_t{0};
}

void Nic::write_register(unsigned bar, BarOffset at, unsigned width_bytes, std::uint64_t value) {
  if (bar == ring_device::kRegisterBar) return registers_.write(at.value, width_bytes, value);
  record(fmt::format("a write to BAR {}, which it has not", bar));
}

bool Nic::step() {
  return stepper_.step([this](bool becomes_ready) { follow(becomes_ready); },
                       [this](const ring_device::Stepper<Job>::Channels& channels) {
                         return responder_.step([&channels](std::uint32_t pair) {
                           const std::size_t channel = 2 * std::size_t{pair} + 1;
                           return channel >= channels.size() || channels[channel].has_run_dry();
                         });
                       });
}

void Nic::reset() {
  stepper_.reset([this] { keys_.clear_remote(); });
}

// Before READY can be read: who sees it at both ends finds the wire up.
void Nic::follow(bool becomes_ready) {
  if (!becomes_ready) return;
  is_ready_ = true;
  port_.set_ready(true);
}

// Before the channels stop, so that the other end learns that the wire went down, and not of a single channel.
void Nic::stop() {
  if (registers_.reset_is_asked()) keys_.clear_remote();
  if (!is_ready_) return;
  is_ready_ = false;
  port_.set_ready(false);
  keys_.forget_all();
}

using ring_device::kMaxRingLog2;

namespace {

std::unexpected<Error> refuse(std::string why, std::string cure) {
  return fail(
      {.code = ErrorCode::invalid_argument, .doing = "making a NIC", .why = std::move(why), .cure = std::move(cure)});
}

Result<void> check(const NicSetup& setup) {
  if (setup.pairs == 0 || setup.pairs > kMaxPairs)
    return refuse(fmt::format("it would have {} queue pairs", setup.pairs), fmt::format("choose 1 to {}", kMaxPairs));
  if (setup.ring_log2 == 0 || setup.ring_log2 > kMaxRingLog2)
    return refuse(fmt::format("its rings would have up to 2^{} entries", setup.ring_log2),
                  fmt::format("choose 1 to {}", kMaxRingLog2));
  if (setup.segments == 0 || setup.keys == 0)
    return refuse("it could use no list, or no key", "choose at least one segment and one key");
  if (setup.address_bits < 32 || setup.address_bits > 64)
    return refuse(fmt::format("its addresses would have {} bits", setup.address_bits), "choose 32 to 64");
  if (setup.boundary_log2 != 0 && (setup.boundary_log2 < 12 || setup.boundary_log2 > 63))
    return refuse(fmt::format("no segment would cross a multiple of 2^{}", setup.boundary_log2),
                  "choose 12 to 63, or 0 for none");
  if (setup.message_bytes == 0 || setup.message_bytes > kMaxMessageBytes)
    return refuse(fmt::format("its messages would have up to {} bytes", setup.message_bytes), "choose 1 to 2^62");
  return {};
}

}  // namespace

Result<std::unique_ptr<fabric::Device>> create_nic(const NicSetup& setup) {
  if (auto checked = check(setup); !checked) return fail(std::move(checked.error()));
  const FixedRegisters fixed{.pairs = setup.pairs,
                             .ring_log2 = setup.ring_log2,
                             .segments = setup.segments,
                             .address_bits = setup.address_bits,
                             .boundary_log2 = setup.boundary_log2,
                             .message_bytes = setup.message_bytes,
                             .keys = setup.keys};
  fabric::FunctionIdentity identity{.vendor_id = setup.vendor_id,
                                    .device_id = setup.device_id,
                                    .subsystem_vendor_id = setup.vendor_id,
                                    .subsystem_id = setup.device_id,
                                    .class_code = kOtherNetworkController,
                                    .revision = 1,
                                    .bars = {{.index = ring_device::kRegisterBar, .size_bytes = kRegisterBarBytes}},
                                    .msix_vectors = fixed.channels(),
                                    .msix_bar = ring_device::kRegisterBar,
                                    .msix_table = {kMsixTable},
                                    .msix_pending = {kMsixPending}};
  return std::make_unique<Nic>(std::move(identity), fixed,
                               setup.bytes_per_step != 0 ? setup.bytes_per_step : ring_device::kMaxBytesPerStep);
}

Result<void> join(fabric::Device& first, fabric::Device& second) {
  auto* const one = dynamic_cast<Nic*>(&first);
  auto* const other = dynamic_cast<Nic*>(&second);
  if (one != nullptr && other != nullptr && Port::join(one->port(), other->port())) return {};
  return fail({.code = ErrorCode::invalid_argument,
               .doing = "joining two NICs",
               .subject = "by a wire",
               .why = one == nullptr || other == nullptr ? "one of them is no NIC"
                      : one == other                     ? "they are one and the same"
                                                         : "one of them has a wire",
               .cure = "use two NICs that have none"});
}

}  // namespace barter::devices::nic
