#include "devices/accelerator/channel_job.h"

#include <atomic>

#include <fmt/format.h>

namespace barter::devices::accelerator {

ChannelJob::ChannelJob(std::uint32_t number, RegisterFile& registers, MemoryAccess& memory)
    : Job(memory, number < registers.fixed().copy_channels ? Engine::copy : Engine::compute),
      number_(number),
      registers_(registers),
      memory_(memory) {}

std::string ChannelJob::start(const ring_device::ChannelSettings& settings) {
  progress_ = Progress::from(settings.counter);
  const std::uint64_t counter = progress_.get(Progress::address_8) << 3;
  if ((progress_.raw & Progress::kReserved) != 0 ||
      (progress_.get(Progress::on) && counter > memory_.memory().size() - sizeof(std::uint64_t)))
    return fmt::format("a progress counter at {:#x}", progress_.raw);
  requests_are_on_ = registers_.requests_are_on(number_);
  if (requests_are_on_ && settings.ring_log2 < 2) return "REQUESTS with a ring of 2 entries";
  publish(0);
  return {};
}

// The doorbell was seen: so is the root that the host wrote before it (docs/memory-order.md, rule 1).
CommandStatus ChannelJob::begin(const Descriptor& descriptor) {
  memory_.set_root(registers_.table_root());
  return Job::begin(descriptor);
}

// One store with release: whoever sees it by an acquire load sees the bytes that it counts.
void ChannelJob::publish(std::uint64_t worked_bytes) {
  if (!progress_.get(Progress::on)) return;
  const std::uint64_t at = progress_.get(Progress::address_8) << 3;
  auto* const counter = reinterpret_cast<std::uint64_t*>(memory_.memory().data() + at);
  std::atomic_ref<std::uint64_t>(*counter).store(worked_bytes, std::memory_order_release);
}

ring_device::JobEnd ChannelJob::end(CommandStatus status) {
  switch (status) {
    case CommandStatus::done:
      return {.result = result()};
    case CommandStatus::page_fault:
      registers_.set_fault(number_, fault_.address, fault_.was_write);
      return {.result = fault_.address};
    // Nor are these the host's mistakes: what it named may have gone, or have been taken back.
    case CommandStatus::bus_error:
    case CommandStatus::link_down:
    case CommandStatus::not_granted:
      return {};
    default:
      return {.is_mistake = true};
  }
}

std::optional<ring_device::Ring::End> ChannelJob::request(CommandStatus status) {
  if (status != CommandStatus::page_fault) return std::nullopt;
  fault_ = memory_.last_fault();
  if (!requests_are_on_) return std::nullopt;
  registers_.expect_answer(number_);
  return ring_device::Ring::End{.result = fault_.address, .status = fault_.was_write ? kWantsWritable : kWantsReadable};
}

ring_device::Reply ChannelJob::reply(std::uint16_t id) {
  const std::optional<bool> retry = registers_.take_answer(number_, id);
  if (!retry) return ring_device::Reply::none;
  return *retry ? ring_device::Reply::go_on : ring_device::Reply::give_up;
}

}  // namespace barter::devices::accelerator
