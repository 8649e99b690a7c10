// A client's connection and thread; what it asks for is in session_requests.cc.
#include "sharing/session.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "peer/mapping.h"

namespace barter::sharing {

using linux_os::sharing::Packet;

void Session::start() {
  worker_ = std::thread([this] { work(); });
}

void Session::close() {
  if (closed_.exchange(true)) return;
  visitor_.channel.shut();
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

// The reading thread.

void Session::read(std::vector<std::byte>& buffer) {
  auto packet = visitor_.channel.receive(buffer);
  if (packet && packet->kind == Packet::Kind::none) return;
  if (packet && packet->kind == Packet::Kind::end) return close();
  if (packet && packet->sender != visitor_.process) {
    ++broker_->counters.foreign;
    return;
  }
  auto message = packet ? linux_os::sharing::decode(std::span(buffer).first(packet->bytes))
                        : Result<Message>(std::unexpected(packet.error()));
  if (message && carries_descriptor(message->body) != packet->descriptor.is_open())
    message = fail({.code = ErrorCode::malformed, .doing = "reading a message", .why = "its descriptor is missing"});
  if (message) return take(std::move(*message), std::move(packet->descriptor));
  ++broker_->counters.malformed;
  send(0, linux_os::sharing::Failed{std::move(message.error())});
  close();
}

void Session::take(Message message, linux_os::Descriptor descriptor) {
  using namespace linux_os::sharing;
  const Hello* const hello = std::get_if<Hello>(&message.body);
  if (greeted_ == (hello != nullptr) || (hello != nullptr && hello->magic != kMagic)) {
    ++broker_->counters.malformed;
    return close();
  }
  if (hello != nullptr) {
    greeted_ = true;
    return send(message.number, Welcome{broker_->machine().name()});
  }
  if (const EndLease* const end = std::get_if<EndLease>(&message.body)) return end_lease(end->lease);
  if (const Reply* const reply = std::get_if<Reply>(&message.body)) return take_reply(message.number, *reply);
  {
    const std::lock_guard lock(mutex_);
    if (jobs_.size() < kMaxWaitingRequests) {
      jobs_.push_back({std::move(message), std::move(descriptor)});
      return changed_.notify_all();
    }
  }
  ++broker_->counters.malformed;  // nobody who waits for answers comes here
  close();
}

void Session::end_lease(std::uint64_t lease) {
  std::map<std::uint64_t, Lease>::node_type
      ended;  // goes without the lock: it may be the last that a revocation waits for
  const std::lock_guard lock(mutex_);
  ended = leases_.extract(lease);
  if (!ended.empty()) --broker_->counters.leases;
}

void Session::take_reply(std::uint32_t number, const linux_os::sharing::Reply& reply) {
  const std::lock_guard lock(mutex_);
  const auto question = questions_.find(number);
  if (question == questions_.end()) return;  // too late
  Answer answer;
  answer.kind = reply.kind;
  answer.reason = reply.reason;
  question->second = std::move(answer);
  changed_.notify_all();
}

// Any thread.

void Session::send(std::uint32_t number, linux_os::sharing::Body body, int descriptor) {
  if (is_closed()) return;
  if (!visitor_.channel.send(linux_os::sharing::encode({number, std::move(body)}), descriptor)) close();
}

Answer Session::ask(const OwnedRegion& region, const Request& request) {
  std::unique_lock lock(mutex_);
  const std::uint32_t number = ++last_question_;
  questions_[number];
  lock.unlock();
  send(number, linux_os::sharing::Ask{.region = region.id,
                                      .importer = request.importer,
                                      .range = request.range,
                                      .access = request.access,
                                      .route = request.route,
                                      .hold = 0});
  lock.lock();
  const bool in_time = changed_.wait_for(lock, broker_->options().consent_deadline,
                                         [&] { return questions_[number].has_value() || closed_; });
  const std::optional<Answer> answer = std::move(questions_[number]);
  questions_.erase(number);
  if (answer) return *answer;
  if (in_time) return Answer::refuse("the process that owns the memory has ended");
  ++broker_->counters.unanswered;
  return Answer::refuse(
      fmt::format("the process that owns the memory, {}, has not answered by the deadline", visitor_.process));
}

// With the broker's lock held: a client that does not read is closed, which takes only the session's own lock.
void Session::tell_invalidated(std::uint64_t mapping) { send(0, linux_os::sharing::Invalidated{mapping}); }

// The session's own thread.

void Session::work() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return closed_ || !jobs_.empty(); });
      if (closed_) break;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    Carried carried = carry_out(job);
    if (job.message.number == 0) continue;  // it did not want to know
    if (!carried) {
      send(job.message.number, linux_os::sharing::Failed{std::move(carried.error())});
      continue;
    }
    send(job.message.number, std::move(carried->body), carried->descriptor);
    if (carried->announce) {
      const auto made = std::ranges::find_if(
          mappings_, [&](const auto& held) { return held.second.mapping.state().id() == *carried->announce; });
      broker_->announce(*carried->announce, made != mappings_.end() && made->second.mapping.is_revoked());
    }
  }
  depart();
}

void Session::depart() {
  std::map<std::uint64_t, Lease> leases;
  {
    const std::lock_guard lock(mutex_);
    leases.swap(leases_);
    jobs_.clear();
  }
  broker_->counters.leases -= leases.size();
  leases.clear();
  for (const auto& [id, held] : mappings_) broker_->remove_mapping(held.mapping.state().id());
  mappings_.clear();
  while (!regions_.empty()) give_back(regions_.begin(), {.deadline = broker_->options().departure_deadline});
  --broker_->counters.clients;
  departed_ = true;
  broker_->ring();
}

}  // namespace barter::sharing
