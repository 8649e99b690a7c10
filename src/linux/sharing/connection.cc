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
  std::map<std::uint64_t, OwnerCallbacks> owners;  // by region
  std::map<std::uint64_t, MappingNews> mappings;

  std::mutex asking;  // held while a callback of an owner runs
};

namespace {

// The broker reads at any time, so a socket without room for one more message is soon read; past this, something is wrong.
constexpr Duration kLongestWaitForRoom = std::chrono::seconds(10);

Map request_to_map(std::string_view drive, const MapOptions& options) {
  return {.importer = std::string(drive),
          .access = options.access,
          .hold = options.hold,
          .allow_unknown_route = options.allow_unknown_route,
          .offset = options.offset,
          .bytes = options.bytes};
}

Request request_of(const Ask& ask) {
  return {.importer = ask.importer, .range = ask.range, .access = ask.access, .route = ask.route, .hold = ask.hold};
}

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
  link->waiting = true;
  link->number = 1;
  std::shared_ptr<Connection> made(new Connection(link, options));
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
    // The first call is awaited from before it is made: a broker that is full answers, and goes, before it is asked.
    if (link_->number != last_number_) {
      if (link_->ended) return fail(ended_error(std::move(doing)));
      link_->waiting = true;
      link_->number = last_number_;
      link_->answered.reset();
    }
  }
  // Where the broker is gone, the reading thread finds that out, after what the broker has said last.
  if (auto sent = link_->channel.send(encode({last_number_, std::move(request)}), descriptor, kLongestWaitForRoom);
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
  if (!link_->channel.send(encode({0, body}), -1, kLongestWaitForRoom)) link_->channel.shut();
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
  auto answered = call(request_to_map(drive, options), std::string(doing), region.number());
  if (!answered) return std::unexpected(std::move(answered.error()));
  const Mapped* const made = std::get_if<Mapped>(&answered->body);
  if (made == nullptr) return give_up(doing);
  return SharedMapping(shared_from_this(), made->mapping, made->importer, made->route, options.hold, made->bytes);
}

Result<std::vector<SharedPart>> Connection::map_parts(const RegionDescriptor& region, std::string_view drive,
                                                      MapOptions options) {
  const std::string doing = "mapping parts of shared memory for";
  auto answered = call(MapParts{request_to_map(drive, options)}, std::string(doing), region.number());
  if (!answered) return std::unexpected(std::move(answered.error()));
  MappedInParts* const made = std::get_if<MappedInParts>(&answered->body);
  if (made == nullptr) return give_up(doing);
  std::vector<SharedPart> parts;
  for (MappedInParts::Part& part : made->parts) {
    if ((part.kind == Answer::Kind::direct) != (part.mapping != 0)) return give_up(doing);
    SharedPart& made_part = parts.emplace_back();
    made_part.range = part.range;
    made_part.answer = {.kind = part.kind, .reason = std::move(part.reason), .bytes = part.range.bytes};
    if (part.mapping != 0)
      made_part.mapping =
          SharedMapping(shared_from_this(), part.mapping, made->importer, made->route, options.hold, part.range.bytes);
  }
  return parts;
}

void Connection::set_consent(std::uint64_t region, Consent consent) {
  swap_callbacks(region, [shared = consent ? std::make_shared<const Consent>(std::move(consent))
                                           : nullptr](OwnerCallbacks& of) mutable { of.consent.swap(shared); });
}

void Connection::set_unmapped(std::uint64_t region, Unmapped told) {
  swap_callbacks(region, [shared = told ? std::make_shared<const Unmapped>(std::move(told))
                                        : nullptr](OwnerCallbacks& of) mutable { of.unmapped.swap(shared); });
}

// What the old ones have captured goes with `swap`, without the lock.
void Connection::swap_callbacks(std::uint64_t region, std::move_only_function<void(OwnerCallbacks&)> swap) {
  if (!is_own()) return;
  {
    const std::lock_guard lock(link_->mutex);
    swap(link_->owners[region]);
  }
  if (!is_reading_thread()) const std::lock_guard until_the_old_ones_are_done(link_->asking);
}

void Connection::forget_region(std::uint64_t region) {
  swap_callbacks(region, [old = OwnerCallbacks()](OwnerCallbacks& of) mutable { std::swap(old, of); });
  const std::lock_guard lock(link_->mutex);
  link_->owners.erase(region);
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
  if (const GrantEnded* const ended = std::get_if<GrantEnded>(&message.body)) return tell_unmapped(link, *ended);
  const std::lock_guard lock(link.mutex);
  if (!link.waiting || link.number != message.number) return;  // nobody waits for it any more
  link.waiting = false;
  link.answered = Answered{std::move(message.body), std::move(descriptor)};
  link.changed.notify_all();
}

void Connection::answer(Link& link, std::uint32_t number, const Ask& ask) {
  const std::lock_guard asking(link.asking);
  const std::shared_ptr<const Consent> consent = callbacks_of(link, ask.region).consent;
  const Answer answer = consent ? (*consent)(request_of(ask)) : Answer::direct();
  const Reply reply{.kind = answer.kind, .bytes = answer.bytes, .reason = answer.reason};
  if (!link.channel.send(encode({number, reply}), -1, kLongestWaitForRoom)) link.channel.shut();
}

void Connection::tell_unmapped(Link& link, const GrantEnded& ended) {
  const std::lock_guard asking(link.asking);
  const std::shared_ptr<const Unmapped> told = callbacks_of(link, ended.region).unmapped;
  if (told) (*told)(request_of(ended));
}

Connection::OwnerCallbacks Connection::callbacks_of(Link& link, std::uint64_t region) {
  const std::lock_guard lock(link.mutex);
  const auto found = link.owners.find(region);
  return found == link.owners.end() ? OwnerCallbacks() : found->second;
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
