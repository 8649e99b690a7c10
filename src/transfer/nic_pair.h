// What stands behind a QueuePair (barter/nic.hpp): the driver's pair, what is posted to it, and how its commands end.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "barter/nic.hpp"
#include "drivers/nic/nic.h"
#include "machine/nic_unit.h"
#include "machine/state.h"
#include "transfer/nic_memory.h"

namespace barter::transfer {

class PairState {
 public:
  PairState(std::shared_ptr<machine::State> machine, machine::DriveUnit& unit, const PairOptions& options,
            std::unique_ptr<drivers::nic::Pair> pair)
      : machine_(std::move(machine)),
        unit_(&unit),
        deadline_(options.deadline),
        number_(pair->number()),
        pair_(std::move(pair)) {}

  [[nodiscard]] const std::shared_ptr<machine::State>& machine() const { return machine_; }
  [[nodiscard]] machine::DriveUnit& unit() const { return *unit_; }
  [[nodiscard]] Duration deadline() const { return deadline_; }
  [[nodiscard]] std::uint32_t number() const { return number_; }
  [[nodiscard]] Result<NicMemory> memory(std::span<std::byte> bytes, Access access) const;

  // All of the memory as one message; waits for a receive at the other end.
  [[nodiscard]] Result<void> send(const NicMemory& memory);
  [[nodiscard]] Result<void> post(NicMemory memory);
  [[nodiscard]] Result<Received> receive(Duration deadline);
  // Between all of the memory and the other end's, in as many commands as it needs.
  [[nodiscard]] Result<void> access(drivers::nic::Opcode opcode, const NicMemory& memory, RemoteMemory remote);
  // The key of the memory, which has no name but that: whoever asks keeps the leases.
  [[nodiscard]] Result<drivers::nic::RemoteKey> expose(std::span<const Lease> memory, Access access);

 private:
  struct Posted {
    NicMemory memory;
    std::optional<drivers::nic::CommandResult> result;
  };
  [[nodiscard]] std::unexpected<Error> refuse(ErrorCode code, std::string why, std::string cure = {}) const;
  // What a command has ended with that did not work.
  [[nodiscard]] std::unexpected<Error> failed(std::uint8_t status, const NicMemory& memory) const;
  // As one command of this channel takes it.
  [[nodiscard]] Result<peer::SegmentList> in_one(std::span<const DmaSegment> memory,
                                                 const drivers::nic::Channel& channel, std::uint64_t most_bytes) const;
  [[nodiscard]] peer::SegmentLimits limits(const drivers::nic::Channel& channel) const;
  // Submits to the send channel and waits.
  [[nodiscard]] Result<drivers::nic::CommandResult> carry_out(const drivers::nic::Command& command);
  [[nodiscard]] Result<void> look_for_messages();
  // The pair is of no more use: it goes, and with it whatever it still does to memory, and the receives that can't end any more.
  std::unexpected<Error> give_up(Error error);
  [[nodiscard]] Result<void> check_use() const;

  std::shared_ptr<machine::State> machine_;
  machine::DriveUnit* unit_;
  Duration deadline_;
  std::uint32_t number_;
  // Destroyed from the last to the first: the pair goes before what was posted to it.
  std::deque<Posted> posted_;  // in the order of their messages
  std::unique_ptr<drivers::nic::Pair> pair_;
  std::optional<Error> broken_;
};

}  // namespace barter::transfer
