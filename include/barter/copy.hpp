// Copying from drive to drive, straight through device memory where there is a route, and through host memory where there
// is none and the policy allows it.
//
//   auto report = barter::copy(machine->drive("nvme0"), machine->drive("nvme1"),
//                              {.policy = barter::P2p::preferred, .verify = true});
//   if (!report) return barter::print(report.error());
//   fmt::print("{} bytes by {}, {} bytes through host memory\n", report->bytes, name_of(report->route),
//              report->host_memory_bytes);
//
// The source drive reads into device memory (its own, the destination's, or a third device's) and the destination drive
// takes the bytes from there: no byte of them is in host memory. If the owner of that memory takes it back in mid-copy,
// the pieces concerned go by way of host memory, and the report says so.
//
// Of the devices whose memory both drives reach, the nearest is asked first: with the fewest ways through the host bridge, then
// the fewest hops, then the smallest BDF. One that has room for less than a chunk comes after those that have room for one, and
// where the owner refuses, or the memory is gone by then, the next one is asked. Nobody has to fit the copy to the memory: there
// are fewer chunks in flight where it is small, and where two don't fit, smaller chunks, down to one block of the drives.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <barter/machine.hpp>
#include <barter/policy.hpp>
#include <barter/result.hpp>
#include <barter/units.hpp>

namespace barter {

// Bytes of one drive: from `offset`, as many as `length` says or to the end. Both in whole blocks of the drive; the end of a
// file need not be at the end of a block. A copy to a file makes it, or makes it longer, as need be; a copy to the whole of it
// (no offset, no length) leaves it as long as what was copied, as cp would.
struct Extent {
  Extent(Drive whole) : drive(std::move(whole)) {}
  Extent(Drive of, std::uint64_t from, std::optional<std::uint64_t> bytes = std::nullopt)
      : drive(std::move(of)), offset(from), length(bytes) {}
  Drive drive;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
};

struct CopyProgress {
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
};

struct CopyOptions {
  P2p policy = P2p::preferred;
  std::optional<std::string> via;  // the device memory to go through, by name or BDF; none: the nearest
  std::uint32_t queue_depth = 4;   // chunks in flight at most, 1 to 256
  // Whole blocks of both drives, at most 64 MiB, and never longer than the copy. None: 1 MiB, or as much less as lets it go through
  // a small device memory. A size that is given is kept to: where it does not fit, the copy is not direct.
  std::optional<std::uint64_t> chunk_bytes;
  bool verify = false;                         // read both back and compare
  std::function<void(CopyProgress)> progress;  // called on the copying thread as chunks arrive
};

enum class CopyRoute : std::uint8_t { peer, host };
[[nodiscard]] std::string_view name_of(CopyRoute route);

// Chunks that went by way of host memory although the policy would rather have had them direct.
struct Fallback {
  std::string code;    // for programs: "revoked", "no_route", "exhausted", ... (peer::FallbackReason)
  std::string reason;  // for people
  std::uint64_t chunks = 0;
  std::uint64_t bytes = 0;
};

struct CopyReport {
  CopyRoute route = CopyRoute::host;    // `peer` if any chunk went direct; the fallbacks tell of the others
  std::optional<std::string> provider;  // whose memory: the machine's name for it, or its BDF
  std::optional<Bdf> provider_bdf;
  std::uint64_t bytes = 0;
  double seconds = 0;  // real time, verification not included
  // Data that crossed host memory, written plus read: counted by a software machine, and on this computer by the copy itself.
  std::uint64_t host_memory_bytes = 0;
  std::optional<std::uint64_t>
      control_bytes;  // queues and lists in host memory, likewise; none: the machine can't tell
  std::vector<Fallback> fallbacks;
  // Why it went the way it did and not another one that there is, where that is no fallback: the policy's own choice of host
  // memory, a nearer device whose memory was too small or refused. For people.
  std::vector<std::string> reasons;
  std::optional<bool> verified;                   // none: not asked for
  std::optional<std::uint64_t> first_difference;  // byte of the copy, when verified is false
};

// On an error the destination holds some chunks of the copy and some of its old bytes; the error says how many bytes had
// arrived. Nothing is written at all when the error is in the request: a missing route under P2p::required, a destination
// that is too small or has no room, an offset that is not a whole block.
[[nodiscard]] Result<CopyReport> copy(Result<Extent> source, Result<Extent> destination,
                                      const CopyOptions& options = {});

// Copying from memory to memory by an accelerator.
struct MemoryCopyOptions {
  P2p policy = P2p::preferred;
  std::uint64_t chunk_bytes = 1 << 20;         // at most 64 MiB
  std::function<void(CopyProgress)> progress;  // called on the copying thread as chunks arrive
};

// All bytes are in one of the four.
struct MemoryCopyReport {
  std::uint64_t link_bytes = 0;  // by a link between the two
  std::uint64_t bus_bytes = 0;   // by PCIe, from device to device
  std::uint64_t own_bytes = 0;   // within the accelerator's own memory
  std::uint64_t host_bytes = 0;  // by way of host memory
  std::vector<Fallback>
      fallbacks;  // chunks by way of host memory although the policy would rather have had them direct
  std::vector<std::string> rerouted;  // why chunks were begun anew: a link that went down, memory that was taken back
};

// Copies a region to another one of the same size, by the engines of an accelerator that owns one of the two, or both. Each chunk
// goes the best way that there is when its turn comes: by a link, by PCIe, or, where the policy allows it, by way of host memory,
// to which the other region's device must be an accelerator too. A chunk that failed is done again, by another way if need be.
// After an error some chunks have arrived; the error says how many bytes.
[[nodiscard]] Result<MemoryCopyReport> copy_memory(const Accelerator& by, const Region& from, const Region& to,
                                                   const MemoryCopyOptions& options = {});

}  // namespace barter
