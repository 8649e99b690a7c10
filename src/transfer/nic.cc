// The public handles of nic.hpp.
#include "barter/nic.hpp"

#include <utility>

#include "machine/nic_unit.h"
#include "peer/mapping.h"
#include "transfer/nic_pair.h"

namespace barter {

using drivers::nic::Opcode;

namespace {

constexpr int kAttempts = 16;  // to show memory that its owner takes back each time

}  // namespace

Result<QueuePair> QueuePair::open(const Nic& nic, PairOptions options) {
  if (nic.unit().trouble) return fail(*nic.unit().trouble);
  drivers::nic::Nic& driver = *nic.unit().nic;
  auto pair = driver.create_pair({.number = options.number, .segments = driver.facts().max_segments});
  if (!pair) return std::unexpected(std::move(pair.error()));
  return QueuePair(std::make_shared<transfer::PairState>(nic.machine_state(), nic.unit(), options, std::move(*pair)));
}

QueuePair::QueuePair(std::shared_ptr<transfer::PairState> state) : state_(std::move(state)) {}
QueuePair::QueuePair(QueuePair&&) noexcept = default;
QueuePair& QueuePair::operator=(QueuePair&&) noexcept = default;
QueuePair::~QueuePair() = default;

std::uint32_t QueuePair::number() const { return state_->number(); }

Result<IoReport> QueuePair::send(std::span<const std::byte> memory) {
  // It is only read.
  auto told = state_->memory({const_cast<std::byte*>(memory.data()), memory.size()}, Access::read);
  if (!told) return std::unexpected(std::move(told.error()));
  told->fill_buffer();
  if (auto sent = state_->send(*told); !sent) return std::unexpected(std::move(sent.error()));
  return told->way();
}

Result<void> QueuePair::send(std::span<const Lease> memory) {
  const auto told = transfer::NicMemory::of(state_->unit(), memory, Access::read);
  if (!told) return std::unexpected(told.error());
  return state_->send(*told);
}

Result<void> QueuePair::post_receive(std::span<std::byte> memory) {
  auto told = state_->memory(memory, Access::write);
  if (!told) return std::unexpected(std::move(told.error()));
  return state_->post(std::move(*told));
}

Result<void> QueuePair::post_receive(std::vector<Lease> memory) {
  auto told = transfer::NicMemory::of(state_->unit(), memory, Access::write);
  if (!told) return std::unexpected(std::move(told.error()));
  told->keep(std::move(memory));
  return state_->post(std::move(*told));
}

Result<Received> QueuePair::receive(Duration deadline) { return state_->receive(deadline); }

Result<IoReport> QueuePair::write(std::span<const std::byte> from, RemoteMemory to) {
  auto told = state_->memory({const_cast<std::byte*>(from.data()), from.size()}, Access::read);
  if (!told) return std::unexpected(std::move(told.error()));
  told->fill_buffer();
  if (auto done = state_->access(Opcode::write, *told, to); !done) return std::unexpected(std::move(done.error()));
  return told->way();
}

Result<IoReport> QueuePair::read(RemoteMemory from, std::span<std::byte> into) {
  auto told = state_->memory(into, Access::write);
  if (!told) return std::unexpected(std::move(told.error()));
  if (auto done = state_->access(Opcode::read, *told, from); !done) return std::unexpected(std::move(done.error()));
  told->empty_buffer(into.size());
  return told->way();
}

Result<ExposedMemory> QueuePair::expose(std::span<std::byte> memory, RegisterOptions options) {
  auto registration = Registration::create(state_->machine(), state_->unit(), memory, options);
  if (!registration) return std::unexpected(std::move(registration.error()));
  ExposedMemory exposed(state_, std::move(*registration), options.access);
  if (auto shown = exposed.show(); !shown) return std::unexpected(std::move(shown.error()));
  return exposed;
}

ExposedMemory::ExposedMemory(const std::shared_ptr<transfer::PairState>& pair, Registration registration, Access access)
    : pair_(pair), registration_(std::move(registration)), keys_(pair->unit().exposed), access_(access) {}
ExposedMemory::ExposedMemory(ExposedMemory&& other) noexcept
    : pair_(std::move(other.pair_)),
      registration_(std::move(other.registration_)),
      keys_(std::move(other.keys_)),
      access_(other.access_),
      ticket_(std::exchange(other.ticket_, 0)),
      key_(other.key_) {}
ExposedMemory& ExposedMemory::operator=(ExposedMemory&& other) noexcept {
  ExposedMemory old(std::move(*this));
  pair_ = std::move(other.pair_);
  registration_ = std::move(other.registration_);
  keys_ = std::move(other.keys_);
  access_ = other.access_;
  ticket_ = std::exchange(other.ticket_, 0);
  key_ = other.key_;
  return *this;
}
ExposedMemory::~ExposedMemory() { withdraw(); }

void ExposedMemory::withdraw() {
  if (ticket_ != 0) keys_->withdraw(std::exchange(ticket_, 0));
}

bool ExposedMemory::is_shown() const { return ticket_ != 0 && keys_->is_shown(ticket_); }

Result<std::uint32_t> ExposedMemory::key() {
  if (!is_shown())
    if (auto shown = show(); !shown) return std::unexpected(std::move(shown.error()));
  return key_;
}

// Maps what has moved, tells the NIC, and begins again where something was taken back meanwhile.
Result<void> ExposedMemory::show() {
  withdraw();
  const auto pair = pair_.lock();
  if (!pair)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "exposing memory anew",
                 .why = "the queue pair that it was exposed by is gone",
                 .cure = "expose it by another one"});
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    auto leases = registration_.lease();
    if (!leases) return std::unexpected(std::move(leases.error()));
    ticket_ = keys_->announce(registration_.mappings());
    // Taken back before that: it was not heard of.
    if (registration_.is_stale()) {
      withdraw();
      continue;
    }
    const auto key = pair->expose(*leases, access_);
    if (!key) {
      withdraw();
      return std::unexpected(key.error());
    }
    key_ = key->value;
    if (keys_->show(ticket_, *key, std::move(*leases))) return {};
    withdraw();
  }
  return fail({.code = ErrorCode::timed_out,
               .doing = "exposing memory by",
               .subject = pair->unit().name,
               .why = "it was taken back again and again",
               .cure = "try again"});
}

}  // namespace barter
