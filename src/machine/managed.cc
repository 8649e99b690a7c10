// The public handle of managed.hpp.
#include "machine/managed.h"

#include <utility>

#include <fmt/format.h>

#include "barter/managed.hpp"
#include "linux/userfault/user_fault.h"
#include "peer/pages.h"

namespace barter {

namespace {

constexpr const char* kMaking = "making managed memory of";

std::unexpected<Error> other_machine(const char* doing, const std::string& name) {
  return fail({.code = ErrorCode::invalid_argument,
               .doing = doing,
               .subject = name,
               .why = "it is of another machine than the managed memory"});
}

}  // namespace

Result<ManagedMemory> ManagedMemory::create(const Machine& machine, std::uint64_t bytes, ManagedOptions options) {
  machine::State& state = *machine.state();
  if (auto works = state.check_works(kMaking); !works) return std::unexpected(std::move(works.error()));
  if (bytes == 0 || bytes > linux_os::kMaxFaultedBytes)
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = kMaking,
                 .subject = state.name(),
                 .why = fmt::format("{} bytes are not from 1 to {}", bytes, linux_os::kMaxFaultedBytes)});
  const std::uint64_t whole = peer::whole_pages(bytes);
  auto room = state.backend().host_room(whole);
  if (!room) return std::unexpected(std::move(room.error()));
  auto unit = std::make_unique<machine::ManagedUnit>(machine.state(), std::move(*room));
  auto faults = linux_os::UserFault::create(whole, unit->room().buffer.bytes());
  if (!faults) return std::unexpected(std::move(faults.error()));
  const bool by_pointer = unit->room().is_known_by_pointer;
  const std::uint64_t address = by_pointer ? reinterpret_cast<std::uintptr_t>((*faults)->behind_bytes().data())
                                           : unit->room().buffer.address().value;
  auto pages = peer::ManagedPages::create({.exchange = state.exchange(),
                                           .clock = state.backend().clock(),
                                           .faults = std::move(*faults),
                                           .place = {.address = {address}, .is_known_by_pointer = by_pointer},
                                           .mover = nullptr,
                                           .touch_deadline = options.touch_deadline,
                                           .on_lost = std::move(options.on_lost)});
  if (!pages) return std::unexpected(std::move(pages.error()));
  unit->take(std::move(*pages));
  return ManagedMemory(std::move(unit));
}

ManagedMemory::ManagedMemory(std::unique_ptr<machine::ManagedUnit> unit) : unit_(std::move(unit)) {}
ManagedMemory::ManagedMemory(ManagedMemory&&) noexcept = default;
ManagedMemory& ManagedMemory::operator=(ManagedMemory&&) noexcept = default;
ManagedMemory::~ManagedMemory() = default;

peer::ManagedPages& ManagedMemory::pages() const { return unit_->pages(); }
std::span<std::byte> ManagedMemory::bytes() const { return pages().bytes(); }
bool ManagedMemory::kernel_touches_wait() const { return pages().kernel_touches_wait(); }

Result<void> ManagedMemory::move_to(const Provider& device, MemoryRange range, MoveOptions options) {
  if (device.machine_state().get() != &unit_->machine())
    return other_machine("moving managed memory to", device.name());
  return pages().move_to(*device.unit().exporter, range, options.deadline);
}

Result<void> ManagedMemory::move_to_host(MemoryRange range, MoveOptions options) {
  return pages().move_to_host(range, options.deadline);
}

Result<std::vector<Residence>> ManagedMemory::where(MemoryRange range) const { return pages().where(range); }

namespace {

// A drive or an engine.
template <class Importer>
Result<ManagedMapping> map_for(const machine::ManagedUnit& memory, const Importer& importer, MapOptions options) {
  constexpr const char* kDoing = "mapping managed memory for";
  if (importer.machine_state().get() != &memory.machine()) return other_machine(kDoing, importer.name());
  const machine::DriveUnit& unit = importer.unit();
  if (!unit.importer && unit.why_not_direct) return fail(*unit.why_not_direct);
  if (!unit.importer)
    return fail({.code = ErrorCode::unsupported,
                 .doing = kDoing,
                 .subject = importer.name(),
                 .why = "it does no DMA of its own"});
  return memory.pages().map(*unit.importer, options, MoveOptions{}.deadline);
}

}  // namespace

Result<ManagedMapping> ManagedMemory::map(const Drive& importer, MapOptions options) const {
  return map_for(*unit_, importer, options);
}
Result<ManagedMapping> ManagedMemory::map(const DmaEngine& importer, MapOptions options) const {
  return map_for(*unit_, importer, options);
}

Result<void> ManagedMemory::renew(MemoryRange range) { return pages().renew(range); }
ManagedCounters ManagedMemory::counters() const { return pages().counters(); }

}  // namespace barter
