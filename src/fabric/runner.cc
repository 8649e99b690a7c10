#include "fabric/runner.h"

#include <condition_variable>
#include <utility>

#include "fabric/system.h"

namespace barter::fabric {
namespace {

// What a step takes on the stepped clock: little when there was work, more when everybody was idle, so that a wait for
// something that never comes ends soon.
constexpr Duration kBusyStep = std::chrono::nanoseconds(100);
constexpr Duration kIdleStep = std::chrono::microseconds(1);
constexpr Duration kRetraining = std::chrono::milliseconds(2);
constexpr int kSpins = 256;    // rounds without work before a thread gives its core away
constexpr int kYields = 4096;  // and before it naps
constexpr Duration kNap = std::chrono::microseconds(200);

}  // namespace

void SteppedClock::idle() {
  if (!system_.enumerated) {
    now_ += kIdleStep;
    return;
  }
  const auto& requesters = system_.requesters;
  const std::size_t count = requesters.size();
  const std::size_t first = count < 2 ? 0 : chance_.below(count);
  for (std::size_t turn = 0; turn < count; ++turn) {
    const std::size_t next = first + turn < count ? first + turn : first + turn - count;
    if (system_.runner->step(requesters[next]->node())) {
      now_ += kBusyStep;
      return;
    }
  }
  now_ += kIdleStep;
}

struct Runner::Worker {
  explicit Worker(Node& its_node, std::uint64_t seed) : node(its_node), chance(seed) {}
  Node& node;
  base::Random chance;  // of faults
  base::TimePoint link_returns = base::TimePoint::max();
  std::mutex mutex;
  std::condition_variable work;
  std::atomic<bool> napping = false;
  std::thread thread;  // the last member: it uses the others
};

Runner::Runner(System& system, bool threaded, std::uint64_t seed)
    : system_(system), threaded_(threaded), stepped_clock_(system, seed) {}

Runner::~Runner() { stop(); }

base::Clock& Runner::clock() {
  if (threaded_) return real_clock_;
  return stepped_clock_;
}

void Runner::start() {
  workers_.resize(system_.nodes.size());
  for (FunctionRequester* requester : system_.requesters) {
    Node& node = requester->node();
    // A generator of its own, so that the faults of one device don't depend on how fast the others are.
    workers_[node.index] = std::make_unique<Worker>(node, system_.options.seed ^ (node.index + 1) * 0xd1b54a32d192ed03);
  }
  if (!threaded_) return;
  for (const auto& worker : workers_)
    if (worker) worker->thread = std::thread([this, &worker = *worker] { work(worker); });
}

void Runner::stop() {
  stopping_.store(true, std::memory_order_release);
  for (const auto& worker : workers_) {
    if (!worker || !worker->thread.joinable()) continue;
    {
      const std::lock_guard lock(worker->mutex);
      worker->work.notify_one();
    }
    worker->thread.join();
  }
}

void Runner::delay(Duration by) {
  if (!threaded_) {
    stepped_clock_.advance(by);
    return;
  }
  const base::TimePoint until = real_clock_.now() + by;
  while (real_clock_.now() < until && !stopping_.load(std::memory_order_acquire)) real_clock_.idle();
}

void Runner::work(Worker& worker) {
  int idle_rounds = 0;
  while (!stopping_.load(std::memory_order_acquire)) {
    if (step(worker.node)) {
      idle_rounds = 0;
    } else if (++idle_rounds > kYields) {
      // A doorbell that rings between the last step and here is noticed after the nap: it is short for that reason.
      std::unique_lock lock(worker.mutex);
      worker.napping.store(true, std::memory_order_relaxed);
      if (!stopping_.load(std::memory_order_acquire)) worker.work.wait_for(lock, kNap);
      worker.napping.store(false, std::memory_order_relaxed);
    } else if (idle_rounds > kSpins) {
      std::this_thread::yield();
    }
  }
}

void Runner::wake(Node& node) {
  if (!threaded_ || node.index >= workers_.size() || !workers_[node.index]) return;
  Worker& worker = *workers_[node.index];
  if (worker.napping.load(std::memory_order_relaxed)) worker.work.notify_one();
}

bool Runner::step(Node& node) {
  const Faults& faults = system_.options.faults;
  if (faults.surprise_removal > 0 || faults.link_down > 0) inject_faults(*workers_[node.index]);
  if (!node.running.load(std::memory_order_acquire)) return false;
  if (!threaded_) return node.model->step();
  const std::lock_guard lock(node.step_mutex);
  const bool worked = node.model->step();
  node.requester->end_access();
  return worked;
}

void Runner::inject_faults(Worker& worker) {
  const Faults& faults = system_.options.faults;
  Node& node = worker.node;
  if (worker.link_returns != base::TimePoint::max()) {
    if (clock().now() < worker.link_returns) return;
    worker.link_returns = base::TimePoint::max();
    system_.set_link(*node.parent, true);
    return;
  }
  if (!node.running.load(std::memory_order_acquire)) return;
  if (worker.chance.chance(faults.surprise_removal)) {
    system_.remove(node);
  } else if (node.parent != nullptr && worker.chance.chance(faults.link_down)) {
    system_.set_link(*node.parent, false);
    worker.link_returns = clock().now() + kRetraining;
  }
}

}  // namespace barter::fabric
