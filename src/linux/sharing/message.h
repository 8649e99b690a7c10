// What processes that share a machine say to each other: docs/sharing.md, with an example in bytes.
//
// A message is one packet of a SOCK_SEQPACKET socket and at most one file descriptor beside it. Both sides read with the same
// care: every length is compared with its limit before anything is allocated, every choice is one of those that there are, and
// nothing may be left over.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "barter/address.hpp"
#include "barter/memory.hpp"
#include "barter/result.hpp"
#include "barter/verdict.hpp"

namespace barter::linux_os::sharing {

inline constexpr std::uint16_t kVersion = 2;
inline constexpr std::uint32_t kMagic = 0x42525452;  // "RTRB" as bytes: least significant first
inline constexpr std::size_t kMaxMessageBytes = std::size_t{64} << 10;
inline constexpr std::size_t kMaxTextBytes = 512;
inline constexpr std::size_t kMaxContentBytes = std::size_t{32} << 10;
inline constexpr std::size_t kMaxLateImporters = 256;
inline constexpr std::size_t kMaxPartsInAnswer = 64;

// From a client. Those with an answer carry a number of the client's choice, which comes back with the answer.
struct Hello {
  std::uint32_t magic = kMagic;
  std::string who;
};
struct Allocate {
  std::string provider;
  std::uint64_t bytes = 0;
  std::uint64_t alignment = 0;
};
// With the region's descriptor.
struct Map {
  std::string importer;
  Access access = Access::read_write;
  Hold hold = Hold::dynamic;
  bool allow_unknown_route = false;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};
// The same, part by part as the owner decides on them.
struct MapParts : Map {};
struct TakeLease {
  std::uint64_t mapping = 0;
};
// No answer.
struct EndLease {
  std::uint64_t lease = 0;
};
struct Unmap {
  std::uint64_t mapping = 0;
};
enum class Way : std::uint8_t { drive_to_memory, memory_to_drive };
struct Move {
  std::uint64_t mapping = 0;
  Way way = Way::drive_to_memory;
  std::uint64_t drive_offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t memory_offset = 0;
};
struct TakeBack {
  std::uint64_t region = 0;
  bool for_good = true;
  std::uint64_t deadline_ns = 0;
};
struct Free {
  std::uint64_t region = 0;
};
struct Peek {
  std::uint64_t region = 0;
  std::uint64_t offset = 0;
  std::uint32_t bytes = 0;
};
struct Poke {
  std::uint64_t region = 0;
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
};
// To an Ask, whose number it carries. No answer.
struct Reply {
  Answer::Kind kind = Answer::Kind::refuse;
  std::uint64_t bytes = 0;  // holds for the first so many, 0: for all
  std::string reason;
};
// The most bytes of the region that may be pinned at a time.
struct LimitPins {
  std::uint64_t region = 0;
  bool is_limited = false;
  std::uint64_t bytes = 0;  // means something where it is limited
};

// From the broker.
struct Welcome {
  std::string machine;
};
// With the region's descriptor.
struct Allocated {
  std::uint64_t region = 0;
  Bdf exporter;
  MemoryRange range;
};
struct Mapped {
  std::uint64_t mapping = 0;
  Bdf importer;
  Route route = Route::unknown;
  std::uint64_t bytes = 0;
};
struct Leased {
  std::uint64_t lease = 0;
};
struct Done {};
struct Moved {
  std::uint64_t bytes = 0;
};
struct TakenBack {
  std::uint32_t mappings = 0;
  std::vector<Bdf> late;
};
struct Contents {
  std::vector<std::byte> bytes;
};
struct Failed {
  Error error;
};
// The owner of a region is asked. It answers with a Reply of the same number.
struct Ask {
  std::uint64_t region = 0;
  Bdf importer;
  MemoryRange range;
  Access access = Access::read;
  Route route = Route::unknown;
  Hold hold = Hold::dynamic;
};
// Number 0; no answer.
struct Invalidated {
  std::uint64_t mapping = 0;
};
struct MappedInParts {
  struct Part {
    std::uint64_t mapping = 0;  // 0: none
    MemoryRange range;
    Answer::Kind kind = Answer::Kind::refuse;  // direct if and only if there is a mapping
    std::string reason;
  };
  Bdf importer;
  Route route = Route::unknown;
  std::vector<Part> parts;
};
// What the owner has granted is gone. Number 0; no answer.
struct GrantEnded : Ask {};

using Body = std::variant<Hello, Allocate, Map, TakeLease, EndLease, Unmap, Move, TakeBack, Free, Peek, Poke, Reply,
                          MapParts, LimitPins, Welcome, Allocated, Mapped, Leased, Done, Moved, TakenBack, Contents,
                          Failed, Ask, Invalidated, MappedInParts, GrantEnded>;

struct Message {
  std::uint32_t number = 0;
  Body body;
};

// True for the kinds that travel with a descriptor.
[[nodiscard]] bool carries_descriptor(const Body& body);

// Text that is too long is cut: words for people may lose their end, everything else is checked before it comes here.
[[nodiscard]] std::vector<std::byte> encode(const Message& message);
[[nodiscard]] Result<Message> decode(std::span<const std::byte> bytes);

}  // namespace barter::linux_os::sharing
