#include "fabric/requester.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <mutex>
#include <thread>

#include "fabric/publish.h"
#include "fabric/system.h"

namespace barter::fabric {
namespace {

// How many bytes of a request to registers go in one access: the widest aligned one that fits.
unsigned access_width(std::uint64_t offset, std::uint64_t bytes) {
  unsigned width = 8;
  while (offset % width != 0 || width > bytes) width /= 2;
  return width;
}

}  // namespace

FunctionRequester::FunctionRequester(System& system, Node& node)
    : system_(system),
      node_(node),
      threaded_(system.options.running == Running::threaded),
      faulty_(system.options.faults.lost_completion > 0 || system.options.faults.poisoned_completion > 0 ||
              system.options.faults.late_completion > 0),
      chance_(system.options.seed * 0x9e3779b97f4a7c15 + node.index) {
  if (node.capabilities.ats != 0) translations_ = std::make_unique<TranslationCache>();
}

// The store and the load that follow are sequentially consistent, so that either we see the epoch that somebody has moved,
// or they see that we are in an access and wait for it (docs/memory-order.md, rule 6). With one thread there is nobody.
void FunctionRequester::begin_access() {
  if (threaded_) {
    const std::uint64_t before = access_.load(std::memory_order_relaxed);
    access_.store((before | 1) + 2, std::memory_order_seq_cst);
  }
  const std::uint64_t now = epoch_.load(std::memory_order_seq_cst);
  if (now == cached_epoch_) return;
  reads_.clear();
  writes_.clear();
  cached_epoch_ = now;
}

void FunctionRequester::end_access() {
  if (!threaded_) return;
  const std::uint64_t before = access_.load(std::memory_order_relaxed);
  if ((before & 1) != 0) access_.store(before + 1, std::memory_order_release);
}

void FunctionRequester::wait_until_idle() const {
  const std::uint64_t before = access_.load(std::memory_order_seq_cst);
  if ((before & 1) == 0) return;
  while (access_.load(std::memory_order_acquire) == before) std::this_thread::yield();
}

const CachedRange* FunctionRequester::find(std::uint64_t address, Access access) {
  const CachedRange* range = (access == Access::read ? reads_ : writes_).find(address);
  return range != nullptr ? range : find_anew(address, access);
}

const CachedRange* FunctionRequester::find_anew(std::uint64_t address, Access access) {
  const std::lock_guard lock(system_.mutex);
  const std::uint64_t now = epoch_.load(std::memory_order_relaxed);
  if (now != cached_epoch_) {
    reads_.clear();
    writes_.clear();
    cached_epoch_ = now;
  }
  const Resolution found = find_way(address, access);
  failure_ = found.status;
  if (found.status != Completion::successful) return nullptr;
  RangeCache& cache = access == Access::read ? reads_ : writes_;
  return cache.insert({.start = found.span.start,
                       .bytes = found.span.end - found.span.start,
                       .memory = found.kind == TargetKind::memory ? found.memory : nullptr,
                       .route = &route_for(found, access),
                       .target = found.target,
                       .bar_offset = found.bar_offset,
                       .kind = found.kind,
                       .bar = found.bar});
}

namespace {

Route& intern(std::vector<std::unique_ptr<Route>>& routes, const Resolution& way, Access access) {
  auto route = std::make_unique<Route>();
  route->crossings = way.crossings;
  route->traffic = way.traffic;
  route->access = access;
  route->redirects = way.redirects;
  const auto same =
      std::find_if(routes.begin(), routes.end(), [&](const auto& other) { return other->is_same_way(*route); });
  return same != routes.end() ? **same : *routes.emplace_back(std::move(route));
}

}  // namespace

Route& FunctionRequester::route_for(const Resolution& resolution, Access access) {
  return intern(routes_, resolution, access);
}

Completion FunctionRequester::send_message(std::uint64_t address, std::uint32_t data) {
  MessageWay& way = message_way_;
  if (way.epoch != epoch() || way.address != address) {
    const Resolution found = resolve(system_, node_, {.address = address, .access = Access::write});
    if (found.status != Completion::successful) return found.status;
    way = {.epoch = epoch(), .address = address, .route = &intern(message_routes_, found, Access::write)};
    if (found.kind == TargetKind::memory && found.span.end - address >= sizeof data)
      way.memory = found.memory + (address - found.span.start);
    way.is_interrupt = found.kind == TargetKind::interrupt;
  }
  way.route->count(sizeof data);
  if (way.is_interrupt) system_.host_vectors.arrive(data);
  if (way.memory != nullptr) publish(way.memory, std::as_bytes(std::span(&data, 1)));
  return Completion::successful;
}

Completion FunctionRequester::inject_fault() {
  const Faults& faults = system_.options.faults;
  if (chance_.chance(faults.lost_completion)) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    return Completion::lost;
  }
  if (chance_.chance(faults.poisoned_completion)) {
    poisoned_.fetch_add(1, std::memory_order_relaxed);
    return Completion::poisoned;
  }
  if (chance_.chance(faults.late_completion)) {
    late_.fetch_add(1, std::memory_order_relaxed);
    system_.runner->delay(std::chrono::microseconds(1 + chance_.below(50000)));
  }
  return Completion::successful;
}

void FunctionRequester::add_injected(Counters& sum) const {
  sum.lost_completions += lost_.load(std::memory_order_relaxed);
  sum.poisoned_completions += poisoned_.load(std::memory_order_relaxed);
  sum.late_completions += late_.load(std::memory_order_relaxed);
}

Completion FunctionRequester::read(DmaAddress from, std::span<std::byte> into) {
  begin_access();
  Completion status = faulty_ ? inject_fault() : Completion::successful;
  std::uint64_t address = from.value;
  while (!into.empty() && status == Completion::successful) {
    const CachedRange* range = find(address, Access::read);
    if (range == nullptr) {
      status = failure_;
      break;
    }
    const std::uint64_t offset = address - range->start;
    const std::size_t bytes = std::min<std::uint64_t>(into.size(), range->bytes - offset);
    if (range->memory != nullptr) {
      fetch(into.first(bytes), range->memory + offset);
      range->route->count(bytes);
    } else {
      status = read_elsewhere(*range, address, into.first(bytes));
    }
    into = into.subspan(bytes);
    address += bytes;
  }
  end_access();
  return status;
}

Completion FunctionRequester::write(DmaAddress to, std::span<const std::byte> from) {
  begin_access();
  Completion status = Completion::successful;
  std::uint64_t address = to.value;
  while (!from.empty() && status == Completion::successful) {
    const CachedRange* range = find(address, Access::write);
    if (range == nullptr) {
      status = failure_;
      break;
    }
    const std::uint64_t offset = address - range->start;
    const std::size_t bytes = std::min<std::uint64_t>(from.size(), range->bytes - offset);
    if (range->memory != nullptr) {
      publish(range->memory + offset, from.first(bytes));
      range->route->count(bytes);
    } else {
      status = write_elsewhere(*range, address, from.first(bytes));
    }
    from = from.subspan(bytes);
    address += bytes;
  }
  end_access();
  return status;
}

Completion FunctionRequester::read_elsewhere(const CachedRange& cached, std::uint64_t address,
                                             std::span<std::byte> into) {
  // A copy: the model may come back to us in the middle, and the cache may be emptied.
  const CachedRange range = cached;
  range.route->count(into.size());
  while (!into.empty()) {
    const std::uint64_t offset = range.bar_offset + (address - range.start);
    const unsigned width = access_width(offset, into.size());
    std::uint64_t value = 0;
    if (range.kind == TargetKind::msix_table) {
      const std::lock_guard lock(system_.mutex);
      value = read_msix(*range.target, offset, width);
    } else {
      value = range.target->model->read_register(range.bar, {offset}, width);
    }
    std::memcpy(into.data(), &value, width);  // little-endian, as the machines we run on
    into = into.subspan(width);
    address += width;
  }
  return Completion::successful;
}

Completion FunctionRequester::write_elsewhere(const CachedRange& cached, std::uint64_t address,
                                              std::span<const std::byte> from) {
  const CachedRange range = cached;
  range.route->count(from.size());
  if (range.kind == TargetKind::interrupt) {
    std::uint32_t data = 0;
    std::memcpy(&data, from.data(), std::min<std::size_t>(from.size(), sizeof data));
    system_.host_vectors.arrive(data);
    return Completion::successful;
  }
  while (!from.empty()) {
    const std::uint64_t offset = range.bar_offset + (address - range.start);
    const unsigned width = access_width(offset, from.size());
    std::uint64_t value = 0;
    std::memcpy(&value, from.data(), width);
    if (range.kind == TargetKind::msix_table) {
      const std::lock_guard lock(system_.mutex);
      write_msix(*range.target, offset, width, value);
    } else {
      range.target->model->write_register(range.bar, {offset}, width, value);
      system_.runner->wake(*range.target);
    }
    from = from.subspan(width);
    address += width;
  }
  return Completion::successful;
}

Requester::Run FunctionRequester::run(DmaAddress at, std::uint64_t bytes, Access access) {
  begin_access();
  if (faulty_ && access == Access::read)
    if (const Completion status = inject_fault(); status != Completion::successful) return {{}, status};
  const CachedRange* range = find(at.value, access == Access::read ? Access::read : Access::write);
  if (range == nullptr) return {{}, failure_};
  if (range->memory == nullptr) return {};
  const std::uint64_t offset = at.value - range->start;
  const std::uint64_t most = std::min(bytes, range->bytes - offset);
  if (access == Access::read_write) {
    // Both ways must be open, for all of it; what is read is counted too.
    const CachedRange* readable = find(at.value, Access::read);
    if (readable == nullptr) return {{}, failure_};
    if (readable->memory == nullptr || readable->bytes - (at.value - readable->start) < most) return {};
    readable->route->count(most);
    range = writes_.find(at.value);
    if (range == nullptr) return {};
  }
  range->route->count(most);
  // The access stays open: it ends with the device's next request, or its step (rule 7).
  return {{range->memory + offset, most}, Completion::successful};
}

void FunctionRequester::interrupt(unsigned vector) {
  const std::lock_guard lock(system_.mutex);
  raise_interrupt(node_, vector);
}

// The windows are asked for here, on the model's own thread and with no lock held. Nobody needs to wait: the memory is the
// model's, and what peers have under way may still land in it, as posted writes do.
void FunctionRequester::windows_changed() {
  if (!node_.model) return;  // still being plugged in
  std::vector<MemoryWindow> windows = node_.model->windows();
  const std::lock_guard lock(system_.mutex);
  node_.windows = std::move(windows);
  system_.forget_all();
}

bool FunctionRequester::may_master() const { return may_master_.load(std::memory_order_acquire); }

std::optional<BusAddress> FunctionRequester::bar_address(unsigned index) const {
  if (index >= bar_addresses_.size()) return std::nullopt;
  const std::uint64_t address = bar_addresses_[index].load(std::memory_order_acquire);
  return address == 0 ? std::nullopt : std::optional(BusAddress{address});
}

void FunctionRequester::publish_configuration() {
  publish_ats();
  may_master_.store(node_.routable && node_.master_enabled(), std::memory_order_release);
  std::array<std::uint64_t, 6> addresses{};
  if (node_.routable && node_.memory_enabled())
    for (const BarRequest& bar : node_.bars)
      if (const auto window = node_.bar_window(bar)) addresses[bar.index] = window->first;
  for (std::size_t index = 0; index < addresses.size(); ++index)
    bar_addresses_[index].store(addresses[index], std::memory_order_release);
}

}  // namespace barter::fabric
