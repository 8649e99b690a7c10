#include "linux/sharing/connection.h"

#include <unistd.h>

#include <array>
#include <vector>

#include <fmt/format.h>

namespace barter::linux_os::sharing {

struct Connection::Link {
  Channel channel;
  Bell closing;
  pid_t owner = 0;

  mutable std::mutex mutex;
  std::condition_variable changed;
  bool ended = false;
  bool waiting = false;
  std::uint32_t number = 0;  // whose answer is waited for
  std::optional<Answered> answered;
  std::map<std::uint64_t, std::shared_ptr<const Consent>> consents;
  std::map<std::uint64_t, MappingNews> mappings;

  std::mutex asking;  // held while a consent runs
};

namespace {

Error ended_error(std::string doing) {
  return {.code = ErrorCode::device_gone,
          .doing = std::move(doing),
          .subject = "a shared machine",
          .why = "the connection to the process that shares it has ended",
          .cure = "connect again"};
}

}  // namespace

Connection::Connection(std::shared_ptr<Link> link, ConnectOptions options)
    : link_(std::move(link)), options_(options) {}

Result<std::shared_ptr<Connection>> Connection::open(const std::filesystem::path& path, ConnectOptions options) {
  auto link = std::make_shared<Link>();
  auto channel = Channel::connect(path);
  if (!channel) return std::unexpected(std::move(channel.error()));
  auto bell = Bell::create();
  if (!bell) return std::unexpected(std::move(bell.error()));
  link->channel = std::move(*channel);
  link->closing = std::move(*bell);
  link->owner = getpid();
  const std::shared_ptr<Connection> made(new Connection(link, options));
  made->reader_ = std::make_unique<std::thread>([link] { read_all(link); });
  const auto welcome = made->call_for<Welcome>(Hello{.magic = kMagic, .who = fmt::format("process {}", link->owner)},
                                               "connecting to a shared machine");
  if (!welcome) return std::unexpected(welcome.error());
  made->machine_ = welcome->machine;
  return made;
}

// In a child the reading thread does not exist, and the connection is the parent's: it is left alone, and so is its memory.
Connection::~Connection() {
  if (!is_own()) {
    static_cast<void>(reader_.release());
    return;
  }
  link_->closing.ring();
  link_->channel.shut();
  if (!reader_) return;
  if (is_reading_thread())
    reader_->detach();
  else
    reader_->join();
}

bool Connection::is_own() const { return link_->owner == getpid(); }
bool Connection::is_reading_thread() const { return reader_ && reader_->get_id() == std::this_thread::get_id(); }

bool Connection::is_connected() const {
  if (!is_own()) return false;
  const std::lock_guard lock(link_->mutex);
  return !link_->ended;
}

Result<Connection::Answered> Connection::call(Body request, std::string doing, int descriptor) {
  if (!is_own())
    return fail(
        {.code = ErrorCode::refused,
         .doing = std::move(doing),
         .subject = "a shared machine",
         .why = fmt::format("the connection belongs to process {}, and this is its child {}", link_->owner, getpid()),
         .cure = "connect in each process"});
  if (is_reading_thread())
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = std::move(doing),
                 .subject = "a shared machine",
                 .why = "a callback of a connection must not call it",
                 .cure = "do it on another thread"});
  const std::lock_guard one(one_call_);
  if (++last_number_ == 0) ++last_number_;  // 0 stands for no answer
  {
    const std::lock_guard lock(link_->mutex);
    if (link_->ended) return fail(ended_error(std::move(doing)));
    link_->waiting = true;
    link_->number = last_number_;
    link_->answered.reset();
  }
  // Where the broker is gone, the reading thread finds that out, after what the broker has said last.
  if (auto sent = link_->channel.send(encode({last_number_, std::move(request)}), descriptor);
      !sent && sent.error().code != ErrorCode::device_gone)
    link_->channel.shut();
  std::unique_lock lock(link_->mutex);
  const bool in_time = link_->changed.wait_for(lock, options_.answer_deadline,
                                               [&] { return link_->answered.has_value() || link_->ended; });
  link_->waiting = false;
  if (!in_time) {
    link_->channel.shut();
    return fail({.code = ErrorCode::timed_out,
                 .doing = std::move(doing),
                 .subject = "a shared machine",
                 .why = "the process that shares it has not answered in time; the connection is given up",
                 .cure = "look what that process does, and connect again"});
  }
  if (!link_->answered) return fail(ended_error(std::move(doing)));
  Answered answered = std::move(*link_->answered);
  link_->answered.reset();
  if (Failed* const failed = std::get_if<Failed>(&answered.body)) return fail(std::move(failed->error));
  return answered;
}

std::unexpected<Error> Connection::give_up(std::string doing) {
  link_->channel.shut();
  return fail({.code = ErrorCode::malformed,
               .doing = std::move(doing),
               .subject = "a shared machine",
               .why = "the process that shares it has answered something else; the connection is given up",
               .cure = "use the same version of Barter in both"});
}

void Connection::tell(const Body& body) {
  if (!is_own()) return;
  if (!link_->channel.send(encode({0, body}))) link_->channel.shut();
}

void Connection::drop(Body body, std::string doing) {
  if (!is_own()) return;
  if (is_reading_thread()) return tell(body);
  static_cast<void>(call(std::move(body), std::move(doing)));
}

Result<SharedRegion> Connection::allocate(std::string_view provider, std::uint64_t bytes, std::uint64_t alignment) {
  const std::string doing = "allocating memory of";
  auto answered =
      call(Allocate{.provider = std::string(provider), .bytes = bytes, .alignment = alignment}, std::string(doing));
  if (!answered) return std::unexpected(std::move(answered.error()));
  const Allocated* const made = std::get_if<Allocated>(&answered->body);
  if (made == nullptr || !answered->descriptor.is_open()) return give_up(doing);
  return SharedRegion(shared_from_this(), made->region, made->exporter, made->range,
                      RegionDescriptor(std::move(answered->descriptor).release()));
}

Result<SharedMapping> Connection::map(const RegionDescriptor& region, std::string_view drive, MapOptions options) {
  const std::string doing = "mapping shared memory for";
  auto answered = call(Map{.importer = std::string(drive),
                           .access = options.access,
                           .hold = 0,
                           .allow_unknown_route = options.allow_unknown_route,
                           .offset = options.offset,
                           .bytes = options.bytes},
                       std::string(doing), region.number());
  if (!answered) return std::unexpected(std::move(answered.error()));
  const Mapped* const made = std::get_if<Mapped>(&answered->body);
  if (made == nullptr) return give_up(doing);
  return SharedMapping(shared_from_this(), made->mapping, made->importer, made->route, made->bytes);
}

void Connection::set_consent(std::uint64_t region, Consent consent) {
  if (!is_own()) return;
  {
    const std::lock_guard lock(link_->mutex);
    link_->consents[region] = consent ? std::make_shared<const Consent>(std::move(consent)) : nullptr;
  }
  if (!is_reading_thread()) const std::lock_guard until_the_old_one_is_done(link_->asking);
}

void Connection::forget_region(std::uint64_t region) {
  set_consent(region, {});
  const std::lock_guard lock(link_->mutex);
  link_->consents.erase(region);
}

void Connection::set_callback(std::uint64_t mapping, std::function<void()> callback) {
  {
    const std::lock_guard lock(link_->mutex);
    MappingNews& news = link_->mappings[mapping];
    if (!news.invalidated && !link_->ended) {
      news.callback = std::move(callback);
      return;
    }
  }
  if (callback) callback();
}

bool Connection::is_invalidated(std::uint64_t mapping) const {
  const std::lock_guard lock(link_->mutex);
  const auto found = link_->mappings.find(mapping);
  return link_->ended || (found != link_->mappings.end() && found->second.invalidated);
}

void Connection::forget_mapping(std::uint64_t mapping) {
  const std::lock_guard lock(link_->mutex);
  link_->mappings.erase(mapping);
}

// The reading thread.

void Connection::read_all(const std::shared_ptr<Link>& link) {
  std::vector<std::byte> buffer(kMaxMessageBytes);
  std::array<Watch, 2> watches{Watch{.number = link->channel.number()}, Watch{.number = link->closing.number()}};
  while (true) {
    static_cast<void>(wait_for_any(watches, Duration(-1)));
    if (watches[1].ready) break;
    auto packet = link->channel.receive(buffer);
    if (!packet || packet->kind == Packet::Kind::end) break;
    if (packet->kind == Packet::Kind::none) continue;
    auto message = decode(std::span(buffer).first(packet->bytes));
    if (!message || carries_descriptor(message->body) != packet->descriptor.is_open()) break;
    take(*link, std::move(*message), std::move(packet->descriptor));
  }
  end(*link);
}

void Connection::take(Link& link, Message message, Descriptor descriptor) {
  if (const Ask* const ask = std::get_if<Ask>(&message.body)) return answer(link, message.number, *ask);
  if (const Invalidated* const gone = std::get_if<Invalidated>(&message.body))
    return tell_invalidated(link, gone->mapping);
  const std::lock_guard lock(link.mutex);
  if (!link.waiting || link.number != message.number) return;  // nobody waits for it any more
  link.waiting = false;
  link.answered = Answered{std::move(message.body), std::move(descriptor)};
  link.changed.notify_all();
}

void Connection::answer(Link& link, std::uint32_t number, const Ask& ask) {
  const std::lock_guard asking(link.asking);
  std::shared_ptr<const Consent> consent;
  {
    const std::lock_guard lock(link.mutex);
    const auto found = link.consents.find(ask.region);
    if (found != link.consents.end()) consent = found->second;
  }
  const Answer answer =
      consent ? (*consent)({.importer = ask.importer, .range = ask.range, .access = ask.access, .route = ask.route})
              : Answer::direct();
  const Reply reply{.kind = answer.kind, .bytes = 0, .reason = answer.reason};
  if (!link.channel.send(encode({number, reply}))) link.channel.shut();
}

void Connection::tell_invalidated(Link& link, std::uint64_t mapping) {
  std::function<void()> callback;
  {
    const std::lock_guard lock(link.mutex);
    MappingNews& news = link.mappings[mapping];
    news.invalidated = true;
    callback = std::exchange(news.callback, {});
  }
  if (callback) callback();
}

// The broker has gone, or this side goes: whoever waits is told, and so is everyone with a mapping.
void Connection::end(Link& link) {
  std::vector<std::function<void()>> callbacks;
  {
    const std::lock_guard lock(link.mutex);
    link.ended = true;
    for (auto& [mapping, news] : link.mappings)
      if (news.callback) callbacks.push_back(std::exchange(news.callback, {}));
  }
  link.channel.shut();
  link.changed.notify_all();
  for (const auto& callback : callbacks) callback();
}

}  // namespace barter::linux_os::sharing
