// A byte-checked round trip between two drives, on scratch space that the user named.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "barter/doctor.hpp"
#include "barter/io.hpp"
#include "base/clock.h"
#include "doctor/probe_bytes.h"

namespace barter {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kMaxProbeBytes = std::uint64_t{64} << 20;
constexpr std::uint32_t kInFlight = 4;

std::unexpected<Error> refuse(const Extent& first, const Extent& second, ErrorCode code, std::string why,
                              std::string cure = {}) {
  return fail({.code = code,
               .doing = "probing",
               .subject = fmt::format("{} and {}", first.drive.name(), second.drive.name()),
               .why = std::move(why),
               .cure = std::move(cure)});
}

Result<std::uint64_t> check(const Extent& first, const Extent& second) {
  if (!first.length || !second.length)
    return refuse(first, second, ErrorCode::invalid_argument, "an extent without a length would be the whole drive",
                  "name offset and length of scratch space");
  if (*first.length != *second.length)
    return refuse(first, second, ErrorCode::invalid_argument,
                  fmt::format("the extents have {} and {} bytes", *first.length, *second.length),
                  "give both one length");
  const std::uint64_t bytes = *first.length;
  if (bytes == 0 || bytes > kMaxProbeBytes)
    return refuse(first, second, ErrorCode::invalid_argument,
                  fmt::format("extents of {} bytes are not possible", bytes),
                  fmt::format("use 1 block to {} bytes", kMaxProbeBytes));
  for (const Extent* extent : {&first, &second}) {
    const std::uint64_t size = extent->drive.size_bytes();
    if (extent->offset > size || bytes > size - extent->offset)
      return refuse(first, second, ErrorCode::out_of_range,
                    fmt::format("{} bytes from offset {} on end behind the {} bytes of {}", bytes, extent->offset, size,
                                extent->drive.name()));
    const std::uint32_t block = extent->drive.block_bytes();
    if (extent->offset % block != 0 || bytes % block != 0)
      return refuse(first, second, ErrorCode::invalid_argument,
                    fmt::format("offset {} and length {} are not whole blocks of {}, which have {} bytes",
                                extent->offset, bytes, extent->drive.name(), block));
  }
  const std::uint64_t low = std::min(first.offset, second.offset);
  const std::uint64_t high = std::max(first.offset, second.offset);
  if (first.drive.name() == second.drive.name() && high - low < bytes)
    return refuse(first, second, ErrorCode::invalid_argument, "the two parts of the drive overlap");
  return bytes;
}

Result<Bytes> read_extent(const Extent& extent) {
  Bytes data(*extent.length);
  if (auto read = barter::read(extent.drive, {.offset = extent.offset, .bytes = *extent.length}, std::span(data));
      !read)
    return std::unexpected(std::move(read.error()));
  return data;
}

Result<void> write_extent(const Extent& extent, const Bytes& data) {
  if (auto written = barter::write(extent.drive, {.offset = extent.offset, .bytes = *extent.length}, std::span(data));
      !written)
    return std::unexpected(std::move(written.error()));
  return {};
}

class Probe {
 public:
  Probe(const Machine& machine, Extent first, Extent second, const ProbeOptions& options)
      : topology_(machine.topology()),
        first_(std::move(first)),
        second_(std::move(second)),
        options_(options),
        end_(clock_.now() + options.deadline) {}

  Result<ProbeReport> run() {
    for (auto [extent, saved] : {std::pair(&first_, &saved_first_), std::pair(&second_, &saved_second_)}) {
      auto read = read_extent(*extent);
      if (!read) return std::unexpected(std::move(read.error()));
      *saved = std::move(*read);
    }
    ProbeReport report{.bytes = *first_.length};
    for (const std::optional<std::string>& via : providers())
      for (const auto& [from, to] : {std::pair(&first_, &second_), std::pair(&second_, &first_)})
        report.legs.push_back(run_leg(*from, *to, via));
    for (auto [extent, saved] : {std::pair(&first_, &saved_first_), std::pair(&second_, &saved_second_)})
      if (auto restored = restore(*extent, *saved); !restored)
        report.not_restored.push_back(std::move(restored.error()));
    return report;
  }

 private:
  // The memory of each of the two, where it has some; else whatever is nearest.
  [[nodiscard]] std::vector<std::optional<std::string>> providers() const {
    std::vector<std::optional<std::string>> found;
    for (const Extent* extent : {&first_, &second_}) {
      std::string name = extent->drive.bdf().to_string();
      const bool is_new = std::ranges::find(found, std::optional(name)) == found.end();
      if (is_new && extent->drive.memory()) found.emplace_back(std::move(name));
    }
    if (found.empty()) found.emplace_back(std::nullopt);
    return found;
  }

  ProbeLeg run_leg(const Extent& from, const Extent& to, const std::optional<std::string>& via) {
    ProbeLeg leg{
        .from = from.drive.name(), .to = to.drive.name(), .via = via ? std::optional(name_of(*via)) : std::nullopt};
    const std::uint64_t number = legs_++;
    const Bytes sent = doctor::probe_pattern(options_.seed, 2 * number, *from.length);
    Bytes arrived = doctor::probe_pattern(options_.seed, 2 * number + 1, *from.length);  // what must be gone afterwards
    if (auto done = move(leg, from, to, via, sent, arrived); !done) {
      leg.error = std::move(done.error());
      return leg;
    }
    leg.route = route_text(leg, from, to);
    const doctor::Difference difference = doctor::compare_bytes(sent, arrived);
    leg.first_wrong_byte = difference.first;
    leg.wrong_bytes = difference.wrong_bytes;
    return leg;
  }

  Result<void> move(ProbeLeg& leg, const Extent& from, const Extent& to, const std::optional<std::string>& via,
                    const Bytes& sent, Bytes& arrived) {
    if (auto in_time = check_time("writing the pattern"); !in_time) return in_time;
    if (auto written = write_extent(from, sent); !written) return written;
    if (auto written = write_extent(to, arrived); !written) return written;
    if (auto in_time = check_time("copying"); !in_time) return in_time;
    auto copied = copy(from, to, {.policy = P2p::required, .via = via, .queue_depth = kInFlight});
    if (!copied) return std::unexpected(std::move(copied.error()));
    leg.copy = std::move(*copied);
    if (auto in_time = check_time("reading back"); !in_time) return in_time;
    auto read = read_extent(to);
    if (!read) return std::unexpected(std::move(read.error()));
    arrived = std::move(*read);
    return {};
  }

  [[nodiscard]] Result<void> check_time(std::string_view doing) const {
    if (clock_.now() < end_) return {};
    return fail({.code = ErrorCode::timed_out,
                 .doing = std::string(doing),
                 .subject = "of the probe",
                 .why = "the deadline had passed",
                 .cure = "use less scratch space or a later deadline"});
  }

  // How each drive reaches the memory on the way: the source writes there and the destination reads from there.
  [[nodiscard]] std::string route_text(const ProbeLeg& leg, const Extent& from, const Extent& to) const {
    if (!leg.copy.provider_bdf) return "by way of host memory";
    const Bdf provider = *leg.copy.provider_bdf;
    std::string text;
    for (const auto& [drive, writes] : {std::pair(&from.drive, true), std::pair(&to.drive, false)}) {
      text += fmt::format("{}{} {} ", text.empty() ? "" : "; ", drive->name(), writes ? "wrote to" : "read from");
      if (drive->bdf() == provider) {
        text += "its own memory";
        continue;
      }
      const Verdict verdict = topology_.verdict({.client = drive->bdf(), .provider = provider});
      const Route on_wire = (writes ? verdict.by_wire.write : verdict.by_wire.read).route;
      text += fmt::format("the memory of {}: {} on the wire, {} by Linux", name_of(provider.to_string()),
                          barter::name_of(on_wire), barter::name_of(verdict.by_linux.route));
    }
    return text;
  }

  [[nodiscard]] std::string name_of(const std::string& bdf) const {
    for (const Extent* extent : {&first_, &second_})
      if (extent->drive.bdf().to_string() == bdf && !extent->drive.name().empty()) return extent->drive.name();
    return bdf;
  }

  // Also after the deadline: the user's bytes go before the clock.
  static Result<void> restore(const Extent& extent, const Bytes& saved) {
    const auto broken = [&extent](std::string why) {
      return fail({.code = ErrorCode::io_failed,
                   .doing = "putting back what was in",
                   .subject = fmt::format("{}@{}+{}", extent.drive.name(), extent.offset, *extent.length),
                   .why = std::move(why),
                   .cure = "it may hold the probe's pattern now"});
    };
    const auto written = write_extent(extent, saved);
    // A drive that takes no writes took none of the probe's either: what counts is what is there.
    const auto now = read_extent(extent);
    if (now && *now == saved) return {};
    if (!written) return broken(written.error().message());
    return broken(now ? "it reads back as something else" : now.error().message());
  }

  const Topology& topology_;
  Extent first_;
  Extent second_;
  ProbeOptions options_;
  base::SystemClock clock_;
  base::TimePoint end_;
  Bytes saved_first_;
  Bytes saved_second_;
  std::uint64_t legs_ = 0;
};

}  // namespace

bool ProbeReport::passed() const {
  return std::ranges::all_of(legs, [](const ProbeLeg& leg) { return leg.passed(); });
}

Result<ProbeReport> probe(const Machine& machine, Extent first, Extent second, const ProbeOptions& options) {
  // By name: a computer may have several drives on one function.
  for (const Extent* extent : {&first, &second}) {
    const auto own = machine.drive(extent->drive.name());
    if (!own || own->machine_state() != extent->drive.machine_state())
      return refuse(first, second, ErrorCode::invalid_argument,
                    fmt::format("{} is not a drive of this machine", extent->drive.name()));
  }
  if (const auto bytes = check(first, second); !bytes) return std::unexpected(bytes.error());
  return Probe(machine, std::move(first), std::move(second), options).run();
}

}  // namespace barter
