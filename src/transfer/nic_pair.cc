#include "transfer/nic_pair.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "peer/segments.h"

namespace barter::transfer {

namespace nic = drivers::nic;

std::unexpected<Error> PairState::refuse(ErrorCode code, std::string why, std::string cure) const {
  return fail({.code = code,
               .doing = "using a queue pair of",
               .subject = fmt::format("{}, number {}", unit_->name, number_),
               .why = std::move(why),
               .cure = std::move(cure)});
}

std::unexpected<Error> PairState::failed(std::uint8_t status, const NicMemory& memory) const {
  if (status == nic::kRemoteRefused) return refuse(ErrorCode::refused, nic::describe_status(status));
  if (status == nic::kMessageTooLong) return refuse(ErrorCode::out_of_range, nic::describe_status(status));
  if (status == nic::kWireDown)
    return refuse(ErrorCode::device_failed, nic::describe_status(status), "see to the NIC at the other end");
  if (memory.is_taken_back()) return refuse(ErrorCode::revoked, "its owner has taken the memory back meanwhile");
  return refuse(ErrorCode::device_failed, nic::describe_status(status));
}

std::unexpected<Error> PairState::give_up(Error error) {
  pair_.reset();
  std::erase_if(posted_, [](const Posted& posted) { return !posted.result; });
  broken_ = error;
  return fail(std::move(error));
}

Result<void> PairState::check_use() const {
  if (unit_->trouble) return fail(*unit_->trouble);
  if (broken_) return fail(*broken_);
  return {};
}

Result<NicMemory> PairState::memory(std::span<std::byte> bytes, Access access) const {
  if (bytes.empty()) return refuse(ErrorCode::invalid_argument, "there are no bytes");
  return NicMemory::of(machine_, *unit_, bytes, {.access = access, .deadline = deadline_});
}

peer::SegmentLimits PairState::limits(const nic::Channel& channel) const {
  peer::SegmentLimits limits = unit_->nic->segment_limits();
  limits.max_segments = std::min<std::size_t>(limits.max_segments, channel.max_segments());
  return limits;
}

Result<peer::SegmentList> PairState::in_one(std::span<const DmaSegment> memory, const nic::Channel& channel,
                                            std::uint64_t most_bytes) const {
  peer::SegmentList fitted;
  if (const auto fits = peer::fit(memory, limits(channel), fitted); !fits)
    return refuse(ErrorCode::out_of_range,
                  fmt::format("the memory can't be told in one command: {}", explain(fits.error())),
                  "use memory in fewer pieces, or fewer bytes");
  const std::uint64_t bytes = *peer::size_of(fitted);
  if (bytes > most_bytes)
    return refuse(ErrorCode::out_of_range,
                  fmt::format("{} bytes are more than the {} that one command takes", bytes, most_bytes),
                  "use several");
  return fitted;
}

Result<nic::CommandResult> PairState::carry_out(const nic::Command& command) {
  nic::Channel& channel = pair_->sends();
  if (auto sent = channel.submit(command); !sent) return std::unexpected(std::move(sent.error()));
  channel.ring();
  std::array<nic::CommandResult, 1> results;
  base::Patience patience(machine_->backend().clock());
  while (true) {
    const auto count = channel.poll(results);
    if (!count) return give_up(count.error());
    if (*count != 0) return results.front();
    patience.after_look(false);
  }
}

Result<void> PairState::send(const NicMemory& memory) {
  if (auto useful = check_use(); !useful) return useful;
  const auto list = in_one(memory.segments(), pair_->sends(), unit_->nic->facts().max_message_bytes);
  if (!list) return std::unexpected(list.error());
  base::Clock& clock = machine_->backend().clock();
  const base::TimePoint until = clock.now() + deadline_;
  base::Patience patience(clock);
  while (true) {
    const auto result = carry_out({.opcode = nic::Opcode::send, .memory = *list});
    if (!result) return std::unexpected(result.error());
    if (result->ok()) return {};
    if (result->status != nic::kNoReceive) return failed(result->status, memory);
    if (clock.now() >= until)
      return refuse(ErrorCode::timed_out, "the other end had no receive for the message by the deadline",
                    "post one there first");
    patience.after_look(false);
  }
}

Result<void> PairState::post(NicMemory memory) {
  if (auto useful = check_use(); !useful) return useful;
  nic::Channel& channel = pair_->receives();
  const auto list = in_one(memory.segments(), channel, unit_->nic->facts().max_message_bytes);
  if (!list) return std::unexpected(list.error());
  // What has come meanwhile makes room.
  if (auto looked = look_for_messages(); !looked) return looked;
  if (channel.in_flight() == channel.capacity())
    return refuse(ErrorCode::exhausted,
                  fmt::format("{} receives are posted, the most there can be", channel.capacity()),
                  "take some of their messages first");
  if (auto posted = channel.submit({.opcode = nic::Opcode::receive, .memory = *list}); !posted) return posted;
  posted_.push_back({.memory = std::move(memory), .result = std::nullopt});
  channel.ring();
  return {};
}

// A channel ends its commands in order.
Result<void> PairState::look_for_messages() {
  std::array<nic::CommandResult, 16> results;
  const auto count = pair_->receives().poll(results);
  if (!count) return give_up(count.error());
  auto waiting = std::ranges::find_if(posted_, [](const Posted& posted) { return !posted.result; });
  for (const nic::CommandResult& result : std::span(results).first(*count)) (waiting++)->result = result;
  return {};
}

Result<Received> PairState::receive(Duration deadline) {
  if (posted_.empty() && broken_) return fail(*broken_);
  if (posted_.empty()) return refuse(ErrorCode::invalid_argument, "no receive is posted", "post one first");
  base::Clock& clock = machine_->backend().clock();
  const base::TimePoint until = clock.now() + deadline;
  base::Patience patience(clock);
  while (!posted_.front().result) {
    if (auto useful = check_use(); !useful) return give_up(useful.error());
    if (auto looked = look_for_messages(); !looked) return std::unexpected(looked.error());
    if (posted_.front().result) break;
    if (clock.now() >= until)
      return refuse(ErrorCode::timed_out, "no message has come by the deadline",
                    "wait longer, or see to the other end");
    patience.after_look(false);
  }
  const Posted posted = std::move(posted_.front());
  posted_.pop_front();
  if (!posted.result->ok()) return failed(posted.result->status, posted.memory);
  posted.memory.empty_buffer(posted.result->value);
  return Received{.bytes = posted.result->value, .way = posted.memory.way()};
}

Result<void> PairState::access(nic::Opcode opcode, const NicMemory& memory, RemoteMemory remote) {
  if (auto useful = check_use(); !useful) return useful;
  nic::Channel& channel = pair_->sends();
  const peer::SegmentLimits most = limits(channel);
  base::Patience patience(machine_->backend().clock());
  std::array<nic::CommandResult, 16> results;
  peer::SegmentCutter cutter(memory.segments());
  peer::SegmentList piece;
  std::optional<Error> trouble;
  while ((!trouble && cutter.left_bytes() > 0) || channel.in_flight() > 0) {
    while (!trouble && cutter.left_bytes() > 0 && channel.in_flight() < channel.capacity()) {
      const std::uint64_t offset = remote.offset + (memory.size_bytes() - cutter.left_bytes());
      const auto bytes = cutter.take({.max_bytes = unit_->nic->facts().max_message_bytes}, most, piece);
      auto sent =
          bytes ? channel.submit({.opcode = opcode, .memory = piece, .key = {remote.key}, .remote_offset = offset})
                : refuse(ErrorCode::out_of_range, std::string(explain(bytes.error())));
      if (!sent) trouble = std::move(sent.error());
    }
    channel.ring();
    const auto count = channel.poll(results);
    if (!count) return give_up(count.error());
    for (const nic::CommandResult& result : std::span(results).first(*count))
      if (!result.ok() && !trouble) trouble = failed(result.status, memory).error();
    patience.after_look(*count != 0);
  }
  if (trouble) return fail(std::move(*trouble));
  return {};
}

Result<nic::RemoteKey> PairState::expose(std::span<const Lease> memory, Access access) {
  if (auto useful = check_use(); !useful) return std::unexpected(useful.error());
  const auto told = NicMemory::of(*unit_, memory, access);
  if (!told) return std::unexpected(told.error());
  const auto list = in_one(told->segments(), pair_->sends(), ~std::uint64_t{0});
  if (!list) return std::unexpected(list.error());
  const auto result = carry_out({.opcode = nic::Opcode::expose, .memory = *list, .remote_access = access});
  if (!result) return std::unexpected(result.error());
  if (!result->ok()) return refuse(ErrorCode::exhausted, nic::describe_status(result->status), "withdraw others");
  return nic::RemoteKey{static_cast<std::uint32_t>(result->value)};
}

}  // namespace barter::transfer
