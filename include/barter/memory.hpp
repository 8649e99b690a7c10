// Device memory that others may use, with its owner's consent, until the owner takes it back.
//
//   gpu.on_request([&](const barter::Request& request) {
//     if (!weights.contains(request.range)) return barter::Answer::refuse("only the weights are shared");
//     if (request.access == barter::Access::write) return barter::Answer::by_way_of_host();
//     return barter::Answer::direct();
//   });
//   auto region = gpu.allocate(64_MiB);
//   auto mapping = nic.map(*region, {.access = barter::Access::read});  // segments for DMA: no CPU address, no page
//   {
//     auto lease = mapping->lease();         // an error once the mapping is revoked
//     nic.send(*lease, {.length = 1_MiB});   // the lease ends when the NIC has let go
//   }
//   auto revoked = region->revoke({.deadline = 10ms});  // returns: not one more byte of DMA reaches the region
//
// Lifetime: memory outlives its mappings and mappings outlive their leases, whichever handle is dropped first. Every
// handle is move-only and owns what it names. Dropping a Region revokes it. Dropping a Mapping lets no new lease begin
// and unmaps at once, or, when leases live, when the last of them ends, on the thread that ends it (should the two happen in
// the same instant on two threads: at the latest with the next call that the machine gets). The machine may go
// before its handles: its memory is then revoked, and the handles say so.
//
// Threads: revoke() and invalidate() may be called from any thread at any time; lease() is safe from any thread and
// takes no lock, nor does the end of a Lease while its mapping is live. Moving or dropping one handle is for one thread
// at a time.
//
// How the three are kept, and which test shows it: docs/peer-contract.md.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <barter/address.hpp>
#include <barter/result.hpp>
#include <barter/units.hpp>
#include <barter/verdict.hpp>

namespace barter {

// What the importer's DMA may do with the memory.
enum class Access : std::uint8_t { read = 1, write = 2, read_write = 3 };

// How the importer holds the memory as long as it has it mapped.
enum class Hold : std::uint8_t {
  // The owner may move the memory at any time: the importer is told, lets go, and maps it again.
  dynamic,
  // The owner promises not to move it. It may refuse to promise, it has a limit (Provider::limit_pins), and it can still
  // take the memory back for good. For importers that can't let go and come again: a registration that others know by its
  // key, a stream that must not stop.
  pinned,
};

// A part of an exporter's memory, in bytes from its start.
struct MemoryRange {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  [[nodiscard]] constexpr bool contains(MemoryRange other) const {
    return other.offset >= offset && other.bytes <= bytes && other.offset - offset <= bytes - other.bytes;
  }
  friend constexpr auto operator<=>(const MemoryRange&, const MemoryRange&) = default;
};

// What the owner of the memory is asked.
struct Request {
  Bdf importer;
  MemoryRange range;  // within the exporter's memory: all that would be reachable, whole pages where an IOMMU maps it
  Access access = Access::read;
  Route route = Route::unknown;  // how the importer would reach it; never not_supported, unknown only if allowed below
  Hold hold = Hold::dynamic;     // `pinned`: would the owner promise not to move it?
};

// What the owner answers.
struct Answer {
  enum class Kind : std::uint8_t { direct, by_way_of_host, refuse };
  Kind kind = Kind::refuse;
  std::string reason;  // given to the importer and counted; may be empty for `direct`
  // The answer holds for the first so many bytes of the range, which must end at the edge of a page; for the rest the owner
  // is asked again. 0: for all of it.
  std::uint64_t bytes = 0;
  [[nodiscard]] static Answer direct() { return {Kind::direct, {}}; }
  [[nodiscard]] static Answer by_way_of_host(std::string reason = "the owner asks to go by way of host memory") {
    return {Kind::by_way_of_host, std::move(reason)};
  }
  [[nodiscard]] static Answer refuse(std::string reason) { return {Kind::refuse, std::move(reason)}; }
  [[nodiscard]] Answer for_first(std::uint64_t count) && {
    bytes = count;
    return std::move(*this);
  }
};
using Consent = std::function<Answer(const Request&)>;
// What the owner is told once for each answer `direct`, when what it granted is gone: no DMA reaches that range by that
// grant any more. It is the request as it was granted, with the range that the answer held for. On any thread; it may call
// back, but not revoke or invalidate the memory in question, which waits for its end. Of pages of managed memory it may be the
// thread that answers page faults: it must neither touch that memory nor wait for a thread that may.
//
// Both must return. Revocation, and a device that is to leave, wait for devices with a deadline, and for the program's own code
// without one: cutting it off would leave it running in memory that is gone.
using Unmapped = std::function<void(const Request&)>;

struct MapOptions {
  Access access = Access::read_write;
  std::uint64_t offset = 0;  // within the region
  std::uint64_t bytes = 0;   // 0: to the end of the region
  Hold hold = Hold::dynamic;
  // Map even where a fact that decides the route could not be read. The DMA may then fail, and the caller must cope.
  bool allow_unknown_route = false;
};

struct RevokeOptions {
  Duration deadline = std::chrono::milliseconds(100);
};

// What a revocation met. `late` importers had not let go by the deadline: their DMA was cut off by the machine.
struct RevokeReport {
  std::uint32_t mappings = 0;
  std::vector<Bdf> late;  // in order, each once
};

namespace peer {
class RegionState;
class MappingState;
}  // namespace peer

// Keeps one mapping from going away while a transfer uses it. Cheap: an atomic operation to take, a store or an atomic
// operation to drop, no lock and no allocation. An importer that is told to let go drops its leases; one that keeps them
// past the deadline is cut off.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept : mapping_(std::exchange(other.mapping_, nullptr)), is_seated_(other.is_seated_) {}
  Lease& operator=(Lease&& other) noexcept {
    Lease old(std::move(*this));
    mapping_ = std::exchange(other.mapping_, nullptr);
    is_seated_ = other.is_seated_;
    return *this;
  }
  ~Lease() {
    if (mapping_ != nullptr) end();
  }
  // The memory as the importer's DMA sees it. Valid while this lease lives. A segment of the kind `link` is no address of a
  // bus: only the importer's own engines understand it.
  [[nodiscard]] std::span<const DmaSegment> segments() const;
  // Whose DMA may use it, and for what. Not of an empty lease.
  [[nodiscard]] Bdf importer() const;
  [[nodiscard]] Access access() const;

 private:
  friend class peer::MappingState;
  Lease(peer::MappingState* mapping, bool is_seated) : mapping_(mapping), is_seated_(is_seated) {}
  void end();
  peer::MappingState* mapping_ = nullptr;  // kept alive by the lease that it counts
  bool is_seated_ = false;                 // how it counts it: src/peer/mapping.h
};

// An importer's right to DMA to a range: a list of segments with DMA addresses, no CPU address and no page. Dropping it
// unmaps. Of a Mapping that was moved from, only dropping and assigning are allowed.
class Mapping {
 public:
  explicit Mapping(peer::MappingState* state) : state_(state) {}
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();
  [[nodiscard]] Route route() const;
  [[nodiscard]] Access access() const;
  [[nodiscard]] Hold hold() const;
  [[nodiscard]] std::uint64_t size_bytes() const;
  [[nodiscard]] Bdf importer() const;
  // ErrorCode::revoked once the exporter has taken the range back.
  [[nodiscard]] Result<Lease> lease() const;
  // The exporter has taken the range back, for now or for good: this mapping gives no lease any more.
  [[nodiscard]] bool is_revoked() const;

  // For the library's own rooms.
  [[nodiscard]] const peer::MappingState& state() const { return *state_; }

 private:
  peer::MappingState* state_ = nullptr;  // a place in the machine's table, held by this handle
};

// One part of what map_parts() was asked for: all that the owner had one answer for.
struct MappedPart {
  MemoryRange range;               // within the exporter's memory
  std::optional<Mapping> mapping;  // if the answer is `direct`
  Answer answer;
};

// Contiguous memory of one exporter. Dropping it revokes its mappings and gives the memory back.
class Region {
 public:
  explicit Region(std::shared_ptr<peer::RegionState> state);
  Region(Region&&) noexcept;
  Region& operator=(Region&&) noexcept;
  ~Region();
  [[nodiscard]] Bdf exporter() const;
  [[nodiscard]] MemoryRange range() const;  // within the exporter's memory
  [[nodiscard]] std::uint64_t size_bytes() const;
  // Taken back for good, by revoke() or because its device is gone.
  [[nodiscard]] bool is_revoked() const;
  // The CPU's view, or empty if this memory has none or its device is gone. It lives as long as the region and the
  // machine.
  [[nodiscard]] std::span<std::byte> cpu_bytes() const;

  // Takes every mapping back for good: none can be made again. When it returns, no DMA of any importer reaches the
  // region. An importer that has not let go by the deadline is cut off and reported as late. The one error is a late
  // importer that could not be cut off: then DMA may still arrive, and the memory is never given to anyone again.
  [[nodiscard]] Result<RevokeReport> revoke(RevokeOptions options = {});
  // The same for now, because the memory is to move: importers may map the region again. ErrorCode::pinned if one of them
  // holds a part of it pinned; then nothing has happened, and nobody was told.
  [[nodiscard]] Result<RevokeReport> invalidate(RevokeOptions options = {});

  // For the library's own rooms.
  [[nodiscard]] const std::shared_ptr<peer::RegionState>& state() const { return state_; }

 private:
  std::shared_ptr<peer::RegionState> state_;
};

}  // namespace barter
