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
// handle is move-only and owns what it names. Threads: revoke() and invalidate() may be called from any thread at any
// time; lease() and the end of a Lease are safe from any thread and take no lock.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <barter/address.hpp>
#include <barter/result.hpp>
#include <barter/units.hpp>
#include <barter/verdict.hpp>

namespace barter {

// What the importer's DMA may do with the memory.
enum class Access : std::uint8_t { read = 1, write = 2, read_write = 3 };

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
  MemoryRange range;  // within the exporter's memory
  Access access = Access::read;
  Route route = Route::unknown;  // how the importer would reach it; never not_supported
};

// What the owner answers.
struct Answer {
  enum class Kind : std::uint8_t { direct, by_way_of_host, refuse };
  Kind kind = Kind::refuse;
  std::string reason;  // given to the importer and counted; may be empty for `direct`
  [[nodiscard]] static Answer direct() { return {Kind::direct, {}}; }
  [[nodiscard]] static Answer by_way_of_host(std::string reason = "the owner asks to go by way of host memory") {
    return {Kind::by_way_of_host, std::move(reason)};
  }
  [[nodiscard]] static Answer refuse(std::string reason) { return {Kind::refuse, std::move(reason)}; }
};
using Consent = std::function<Answer(const Request&)>;

struct MapOptions {
  Access access = Access::read_write;
  std::uint64_t offset = 0;  // within the region
  std::uint64_t bytes = 0;   // 0: to the end of the region
};

struct RevokeOptions {
  Duration deadline = std::chrono::milliseconds(100);
};

// What a revocation met. `late` importers had not let go by the deadline: their DMA was cut off by the machine.
struct RevokeReport {
  std::uint32_t mappings = 0;
  std::vector<Bdf> late;
};

namespace peer {
class RegionState;
class MappingState;
}  // namespace peer

// Keeps one mapping from going away while a transfer uses it. Cheap: one atomic add to take, one to drop.
class Lease {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease();
  // The memory as the importer's DMA sees it. Valid while this lease lives.
  [[nodiscard]] std::span<const DmaSegment> segments() const;

 private:
  friend class peer::MappingState;
  explicit Lease(peer::MappingState* mapping) : mapping_(mapping) {}
  peer::MappingState* mapping_ = nullptr;  // kept alive by the lease that it counts
};

// An importer's right to DMA to a range. Dropping it unmaps.
class Mapping {
 public:
  explicit Mapping(std::shared_ptr<peer::MappingState> state);
  Mapping(Mapping&&) noexcept;
  Mapping& operator=(Mapping&&) noexcept;
  ~Mapping();
  [[nodiscard]] Route route() const;
  [[nodiscard]] Access access() const;
  [[nodiscard]] std::uint64_t size_bytes() const;
  [[nodiscard]] Bdf importer() const;
  // ErrorCode::revoked once the exporter has taken the range back.
  [[nodiscard]] Result<Lease> lease() const;
  [[nodiscard]] bool is_revoked() const;

 private:
  std::shared_ptr<peer::MappingState> state_;
};

// Contiguous memory of one exporter. Dropping it revokes its mappings and gives the memory back.
class Region {
 public:
  explicit Region(std::shared_ptr<peer::RegionState> state);
  Region(Region&&) noexcept;
  Region& operator=(Region&&) noexcept;
  ~Region();
  [[nodiscard]] Bdf exporter() const;
  [[nodiscard]] MemoryRange range() const;
  [[nodiscard]] std::uint64_t size_bytes() const;
  // The CPU's view, or empty if this memory has none.
  [[nodiscard]] std::span<std::byte> cpu_bytes() const;

  // Takes every mapping back for good: none can be made again. When it returns, no DMA of any importer reaches the
  // region. An importer that has not let go by the deadline is cut off and reported as late.
  [[nodiscard]] Result<RevokeReport> revoke(RevokeOptions options = {});
  // The same for now: importers may map the region again.
  [[nodiscard]] Result<RevokeReport> invalidate(RevokeOptions options = {});

  [[nodiscard]] const std::shared_ptr<peer::RegionState>& state() const { return state_; }

 private:
  std::shared_ptr<peer::RegionState> state_;
};

}  // namespace barter
