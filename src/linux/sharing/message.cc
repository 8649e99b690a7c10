// One list of fields for each kind of message, walked by a writer and by a reader.
#include "linux/sharing/message.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

namespace barter::linux_os::sharing {
namespace {

constexpr std::size_t kHeaderBytes = 8;  // version 2, kind 2, number 4

// The kinds as docs/sharing.md numbers them.
template <class T>
constexpr std::uint16_t kKind = 0;
template <>
constexpr std::uint16_t kKind<Hello> = 1;
template <>
constexpr std::uint16_t kKind<Allocate> = 2;
template <>
constexpr std::uint16_t kKind<Map> = 3;
template <>
constexpr std::uint16_t kKind<TakeLease> = 4;
template <>
constexpr std::uint16_t kKind<EndLease> = 5;
template <>
constexpr std::uint16_t kKind<Unmap> = 6;
template <>
constexpr std::uint16_t kKind<Move> = 7;
template <>
constexpr std::uint16_t kKind<TakeBack> = 8;
template <>
constexpr std::uint16_t kKind<Free> = 9;
template <>
constexpr std::uint16_t kKind<Peek> = 10;
template <>
constexpr std::uint16_t kKind<Poke> = 11;
template <>
constexpr std::uint16_t kKind<Reply> = 12;
template <>
constexpr std::uint16_t kKind<MapParts> = 13;
template <>
constexpr std::uint16_t kKind<LimitPins> = 14;
template <>
constexpr std::uint16_t kKind<Welcome> = 65;
template <>
constexpr std::uint16_t kKind<Allocated> = 66;
template <>
constexpr std::uint16_t kKind<Mapped> = 67;
template <>
constexpr std::uint16_t kKind<Leased> = 68;
template <>
constexpr std::uint16_t kKind<Done> = 69;
template <>
constexpr std::uint16_t kKind<Moved> = 70;
template <>
constexpr std::uint16_t kKind<TakenBack> = 71;
template <>
constexpr std::uint16_t kKind<Contents> = 72;
template <>
constexpr std::uint16_t kKind<Failed> = 73;
template <>
constexpr std::uint16_t kKind<Ask> = 74;
template <>
constexpr std::uint16_t kKind<Invalidated> = 75;
template <>
constexpr std::uint16_t kKind<MappedInParts> = 76;
template <>
constexpr std::uint16_t kKind<GrantEnded> = 77;

class Writer {
 public:
  template <class T>
  void number(const T& value) {
    for (std::size_t byte = 0; byte < sizeof(T); ++byte)
      bytes_.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * byte)));
  }
  void flag(const bool& value) { number(static_cast<std::uint8_t>(value)); }
  template <class E>
  void choice(const E& value, E, E) {
    number(static_cast<std::uint8_t>(value));
  }
  void text(const std::string& value) {
    const std::size_t count = std::min(value.size(), kMaxTextBytes);
    number(static_cast<std::uint16_t>(count));
    append(std::as_bytes(std::span(value)).first(count));
  }
  void content(const std::vector<std::byte>& value) {
    number(static_cast<std::uint32_t>(value.size()));
    append(value);
  }
  void function(const Bdf& value) {
    number(value.domain);
    number(value.requester_id());
  }
  template <class T, class Walk>
  void list(const std::vector<T>& values, std::size_t at_most, Walk&& walk) {
    const std::size_t count = std::min(values.size(), at_most);
    number(static_cast<std::uint16_t>(count));
    for (std::size_t index = 0; index < count; ++index) walk(values[index]);
  }
  void code(const ErrorCode& value) { number(static_cast<std::uint8_t>(value)); }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  void append(std::span<const std::byte> more) { bytes_.insert(bytes_.end(), more.begin(), more.end()); }
  std::vector<std::byte> bytes_;
};

// After the first thing that is wrong, everything reads as zero and `why` says what it was.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
  void number(T& value) {
    std::uint64_t read = 0;
    const auto from = next(sizeof(T));
    for (std::size_t byte = 0; byte < from.size(); ++byte)
      read |= std::to_integer<std::uint64_t>(from[byte]) << (8 * byte);
    value = static_cast<T>(read);
  }
  void flag(bool& value) {
    std::uint8_t read = 0;
    number(read);
    if (read > 1) wrong(fmt::format("{} is neither yes (1) nor no (0)", read));
    value = read == 1;
  }
  template <class E>
  void choice(E& value, E first, E last) {
    std::uint8_t read = 0;
    number(read);
    if (read < static_cast<std::uint8_t>(first) || read > static_cast<std::uint8_t>(last))
      wrong(fmt::format("there is no choice {}", read));
    value = static_cast<E>(read);
  }
  void text(std::string& value) {
    std::uint16_t count = 0;
    number(count);
    if (count > kMaxTextBytes) return wrong(fmt::format("a text of {} bytes is too long", count));
    const auto from = next(count);
    value.resize(from.size());
    if (!from.empty()) std::memcpy(value.data(), from.data(), from.size());
  }
  void content(std::vector<std::byte>& value) {
    std::uint32_t count = 0;
    number(count);
    if (count > kMaxContentBytes) return wrong(fmt::format("contents of {} bytes are too long", count));
    const auto from = next(count);
    value.assign(from.begin(), from.end());
  }
  void function(Bdf& value) {
    std::uint32_t domain = 0;
    std::uint16_t id = 0;
    number(domain);
    number(id);
    value = Bdf::from_requester_id(domain, id);
  }
  template <class T, class Walk>
  void list(std::vector<T>& values, std::size_t at_most, Walk&& walk) {
    std::uint16_t count = 0;
    number(count);
    if (count > at_most) return wrong(fmt::format("a list of {} is too long", count));
    for (; count > 0 && why_.empty(); --count) walk(values.emplace_back());
  }
  // A later version may know more codes than this one.
  void code(ErrorCode& value) {
    std::uint8_t read = 0;
    number(read);
    value = static_cast<ErrorCode>(read);
    if (name_of(value) == "?") value = ErrorCode::io_failed;
  }

  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] std::size_t at() const { return why_.empty() ? at_ : wrong_at_; }
  [[nodiscard]] std::size_t left() const { return bytes_.size() - at_; }
  void wrong(std::string why) {
    if (why_.empty()) {
      why_ = std::move(why);
      wrong_at_ = at_;
    }
    at_ = bytes_.size();
  }

 private:
  [[nodiscard]] std::span<const std::byte> next(std::size_t count) {
    if (count > left()) {
      wrong("it ends too early");
      return {};
    }
    const auto from = bytes_.subspan(at_, count);
    at_ += count;
    return from;
  }

  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  std::size_t wrong_at_ = 0;
  std::string why_;
};

// The fields of each kind, in the order in which they travel. `Body` is const where they are written.
template <class Walk, class Any>
void range(Walk& walk, Any& value) {
  walk.number(value.offset);
  walk.number(value.bytes);
}
template <class Walk, class Any>
void access(Walk& walk, Any& value) {
  walk.choice(value, Access::read, Access::read_write);
}
template <class Walk, class Any>
void route(Walk& walk, Any& value) {
  walk.choice(value, Route::unknown, Route::link);
}
template <class Walk, class Any>
void hold(Walk& walk, Any& value) {
  walk.choice(value, Hold::dynamic, Hold::pinned);
}
template <class Walk, class Any>
void answer(Walk& walk, Any& value) {
  walk.choice(value, Answer::Kind::direct, Answer::Kind::refuse);
}
template <class Walk, class Any>
void part(Walk& walk, Any& value) {
  walk.number(value.mapping);
  range(walk, value.range);
  answer(walk, value.kind);
  walk.text(value.reason);
}

template <class T, class Walk, class B>
void walk_request(Walk& walk, B& body) {
  if constexpr (std::is_same_v<T, Hello>) {
    walk.number(body.magic);
    walk.text(body.who);
  } else if constexpr (std::is_same_v<T, Allocate>) {
    walk.text(body.provider);
    walk.number(body.bytes);
    walk.number(body.alignment);
  } else if constexpr (std::is_base_of_v<Map, T>) {
    walk.text(body.importer);
    access(walk, body.access);
    hold(walk, body.hold);
    walk.flag(body.allow_unknown_route);
    range(walk, body);
  } else if constexpr (std::is_same_v<T, Move>) {
    walk.number(body.mapping);
    walk.choice(body.way, Way::drive_to_memory, Way::memory_to_drive);
    walk.number(body.drive_offset);
    walk.number(body.bytes);
    walk.number(body.memory_offset);
  } else if constexpr (std::is_same_v<T, TakeBack>) {
    walk.number(body.region);
    walk.flag(body.for_good);
    walk.number(body.deadline_ns);
  } else if constexpr (std::is_same_v<T, Peek>) {
    walk.number(body.region);
    range(walk, body);
  } else if constexpr (std::is_same_v<T, Poke>) {
    walk.number(body.region);
    walk.number(body.offset);
    walk.content(body.bytes);
  } else if constexpr (std::is_same_v<T, Reply>) {
    answer(walk, body.kind);
    walk.number(body.bytes);
    walk.text(body.reason);
  } else if constexpr (std::is_same_v<T, LimitPins>) {
    walk.number(body.region);
    walk.flag(body.is_limited);
    walk.number(body.bytes);
  } else if constexpr (std::is_same_v<T, TakeLease> || std::is_same_v<T, Unmap>) {
    walk.number(body.mapping);
  } else if constexpr (std::is_same_v<T, EndLease>) {
    walk.number(body.lease);
  } else {
    static_assert(std::is_same_v<T, Free>);
    walk.number(body.region);
  }
}

template <class T, class Walk, class B>
void walk_answer(Walk& walk, B& body) {
  if constexpr (std::is_same_v<T, Welcome>) {
    walk.text(body.machine);
  } else if constexpr (std::is_same_v<T, Allocated>) {
    walk.number(body.region);
    walk.function(body.exporter);
    range(walk, body.range);
  } else if constexpr (std::is_same_v<T, Mapped>) {
    walk.number(body.mapping);
    walk.function(body.importer);
    route(walk, body.route);
    walk.number(body.bytes);
  } else if constexpr (std::is_same_v<T, Moved>) {
    walk.number(body.bytes);
  } else if constexpr (std::is_same_v<T, TakenBack>) {
    walk.number(body.mappings);
    walk.list(body.late, kMaxLateImporters, [&](auto& late) { walk.function(late); });
  } else if constexpr (std::is_same_v<T, Contents>) {
    walk.content(body.bytes);
  } else if constexpr (std::is_same_v<T, Failed>) {
    walk.code(body.error.code);
    walk.text(body.error.doing);
    walk.text(body.error.subject);
    walk.text(body.error.where);
    walk.text(body.error.why);
    walk.text(body.error.cure);
  } else if constexpr (std::is_same_v<T, MappedInParts>) {
    walk.function(body.importer);
    route(walk, body.route);
    walk.list(body.parts, kMaxPartsInAnswer, [&](auto& each) { part(walk, each); });
  } else if constexpr (std::is_base_of_v<Ask, T>) {
    walk.number(body.region);
    walk.function(body.importer);
    range(walk, body.range);
    access(walk, body.access);
    route(walk, body.route);
    hold(walk, body.hold);
  } else if constexpr (std::is_same_v<T, Invalidated>) {
    walk.number(body.mapping);
  } else if constexpr (std::is_same_v<T, Leased>) {
    walk.number(body.lease);
  } else {
    static_assert(std::is_same_v<T, Done>);
  }
}

template <class T, class Walk, class B>
void walk_fields(Walk& walk, B& body) {
  if constexpr (kKind<T> < kKind<Welcome>)
    walk_request<T>(walk, body);
  else
    walk_answer<T>(walk, body);
}

std::unexpected<Error> malformed(std::size_t at, std::string why) {
  return fail({.code = ErrorCode::malformed,
               .doing = "reading",
               .subject = "a message of another process",
               .where = fmt::format("byte {}", at),
               .why = std::move(why)});
}

// Tries one kind after the other; false: there is none of this number.
template <std::size_t index = 0>
bool read_body(Reader& reader, std::uint16_t kind, Body& body) {
  if constexpr (index == std::variant_size_v<Body>) {
    return false;
  } else {
    using T = std::variant_alternative_t<index, Body>;
    static_assert(kKind<T> != 0);
    if (kind != kKind<T>) return read_body<index + 1>(reader, kind, body);
    walk_fields<T>(reader, body.emplace<index>());
    return true;
  }
}

}  // namespace

bool carries_descriptor(const Body& body) {
  return std::holds_alternative<Map>(body) || std::holds_alternative<MapParts>(body) ||
         std::holds_alternative<Allocated>(body);
}

std::vector<std::byte> encode(const Message& message) {
  Writer writer;
  std::visit(
      [&]<class T>(const T& body) {
        writer.number(kVersion);
        writer.number(kKind<T>);
        writer.number(message.number);
        walk_fields<T>(writer, body);
      },
      message.body);
  return writer.take();
}

Result<Message> decode(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes || bytes.size() > kMaxMessageBytes)
    return malformed(0, fmt::format("{} bytes are no message", bytes.size()));
  Reader reader(bytes);
  std::uint16_t version = 0;
  std::uint16_t kind = 0;
  Message message;
  reader.number(version);
  reader.number(kind);
  reader.number(message.number);
  if (version != kVersion)
    return fail({.code = ErrorCode::unsupported,
                 .doing = "reading",
                 .subject = "a message of another process",
                 .why = fmt::format("it is of version {} of the protocol, and this is version {}", version, kVersion),
                 .cure = "use the same version of Barter in both"});
  if (!read_body(reader, kind, message.body)) return malformed(2, fmt::format("there is no kind {}", kind));
  if (!reader.why().empty()) return malformed(reader.at(), reader.why());
  if (reader.left() != 0) return malformed(reader.at(), fmt::format("{} bytes are left over", reader.left()));
  return message;
}

}  // namespace barter::linux_os::sharing
