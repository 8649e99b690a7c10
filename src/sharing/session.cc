// A client's connection and thread; what it asks for is in session_requests.cc.
#include "sharing/session.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/clock.h"
#include "peer/mapping.h"

namespace barter::sharing {

using linux_os::sharing::Packet;

namespace {

const base::SystemClock kClock;
// Of this thread, which carries out one request at a time; it is asked in the course of it, deep within.
thread_local std::optional<base::TimePoint> consent_deadline;

}  // namespace

ConsentDeadline::ConsentDeadline(Duration from_now) { consent_deadline = kClock.now() + from_now; }
ConsentDeadline::~ConsentDeadline() { consent_deadline.reset(); }
Duration ConsentDeadline::left(Duration for_one) {
  return consent_deadline ? std::max(*consent_deadline - kClock.now(), Duration::zero()) : for_one;
}

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
  answer.bytes = reply.bytes;  // whether they end at a page is looked at where the answer is used
  question->second = std::move(answer);
  changed_.notify_all();
}

// Any thread.

// What the socket has no room for is kept, because news may come in thousands: a region that is taken back has many mappings.
// All that a client is sent stays in order.
void Session::send(std::uint32_t number, linux_os::sharing::Body body, std::shared_ptr<const OwnedRegion> region) {
  if (is_closed()) return;
  Parcel parcel{.bytes = linux_os::sharing::encode({number, std::move(body)}), .region = std::move(region)};
  bool is_kept = false;
  {
    const std::lock_guard lock(sending_);
    if (unread_.empty()) {
      const auto passed = pass(parcel);
      if (passed) return;
      is_kept = passed.error().code == ErrorCode::exhausted;
    } else {
      is_kept = unread_bytes_ + parcel.kept_bytes() <= kMaxUnreadBytes;
    }
    if (is_kept) {
      unread_bytes_ += parcel.kept_bytes();
      unread_.push_back(std::move(parcel));
    }
  }
  if (!is_kept) return close();
  broker_->ring();  // the reading thread sends it as soon as there is room
}

Result<void> Session::pass(const Parcel& parcel) const {
  return visitor_.channel.send(parcel.bytes, parcel.region ? parcel.region->descriptor.number() : -1);
}

bool Session::has_unread() {
  const std::lock_guard lock(sending_);
  return !unread_.empty();
}

void Session::send_unread() {
  Parcel sent;  // goes without the lock: it may have the last share of a region
  while (!is_closed()) {
    std::unique_lock lock(sending_);
    if (unread_.empty()) return;
    if (const auto passed = pass(unread_.front()); !passed) {
      lock.unlock();
      if (passed.error().code != ErrorCode::exhausted) close();
      return;
    }
    unread_bytes_ -= unread_.front().kept_bytes();
    sent = std::move(unread_.front());
    unread_.pop_front();
  }
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
                                      .hold = request.hold});
  lock.lock();
  const bool in_time = changed_.wait_for(lock, ConsentDeadline::left(broker_->options().consent_deadline),
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

void Session::tell_unmapped(const OwnedRegion& region, const Request& granted) {
  send(0, linux_os::sharing::GrantEnded{{.region = region.id,
                                         .importer = granted.importer,
                                         .range = granted.range,
                                         .access = granted.access,
                                         .route = granted.route,
                                         .hold = granted.hold}});
}

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
    send(job.message.number, std::move(carried->body), std::move(carried->region));
    for (const Announcement& news : carried->announce)
      broker_->announce(news.name, mappings_.at(news.mapping).mapping.is_revoked());
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
  std::deque<Parcel> unread;
  {
    const std::lock_guard lock(sending_);
    unread.swap(unread_);
  }
  unread.clear();
  --broker_->counters.clients;
  departed_ = true;
  broker_->ring();
}

}  // namespace barter::sharing
