#include "machine/sources.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "machine/state.h"
#include "topology/builtin_machines.h"
#include "topology/load.h"

namespace barter::machine {
namespace {

namespace fs = std::filesystem;

// Far above any description; keeps a wrong file name (a disk image, /dev/zero) from filling the memory.
constexpr std::uintmax_t kMaxDescriptionBytes = 16 << 20;

Result<std::string> read_description(const fs::path& file) {
  const auto refuse = [&](ErrorCode code, std::string why) {
    return fail(
        {.code = code, .doing = "reading the machine description", .subject = file.string(), .why = std::move(why)});
  };
  std::error_code error;
  if (!fs::exists(file, error)) return refuse(ErrorCode::not_found, "there is no such file");
  if (!fs::is_regular_file(file, error)) return refuse(ErrorCode::invalid_argument, "it is not a file");
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return refuse(ErrorCode::io_failed, "it cannot be opened");
  std::string text(kMaxDescriptionBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) return refuse(ErrorCode::io_failed, "it cannot be read");
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > kMaxDescriptionBytes) return refuse(ErrorCode::malformed, "it is larger than 16 MiB");
  return text;
}

Result<Source> from_description(std::string name, std::string_view toml, std::string_view origin) {
  auto description = topology::parse_description(toml, origin);
  if (!description) return std::unexpected(std::move(description.error()));
  return Source{.name = std::move(name), .description = std::move(*description)};
}

Result<Source> from_parts(std::string_view name, Result<TopologyParts> parts, std::string why_nothing_moves) {
  if (!parts) return std::unexpected(std::move(parts.error()));
  return Source{
      .name = std::string(name), .parts = std::move(*parts), .why_nothing_moves = std::move(why_nothing_moves)};
}

constexpr const char* kOnlyACapture = "it is a capture of a machine, and nothing can be moved on it";

}  // namespace

Result<Source> find_source(std::string_view name) {
  for (const topology::BuiltinMachine& machine : topology::builtin_machines())
    if (name == machine.name)
      return from_description(std::string(name), machine.toml, fmt::format("machines/{}.toml", machine.name));
  if (name.starts_with("lspci:")) return from_parts(name, topology::load_lspci(name.substr(6)), kOnlyACapture);
  if (name.starts_with("sysfs:")) return from_parts(name, topology::load_sysfs(name.substr(6)), kOnlyACapture);
  if (name.starts_with("hwloc:")) return from_parts(name, topology::load_hwloc(name.substr(6)), kOnlyACapture);
  if (name.ends_with(".toml")) {
    const auto text = read_description(name);
    if (!text) return std::unexpected(text.error());
    return from_description(fs::path(name).stem().string(), *text, name);
  }
  std::string names = "host";
  for (const topology::BuiltinMachine& machine : topology::builtin_machines())
    names += fmt::format(", {}", machine.name);
  return fail({.code = ErrorCode::not_found,
               .doing = "opening the machine",
               .subject = fmt::format("'{}'", name),
               .why = "there is no machine of that name",
               .cure = fmt::format("use one of {}, a .toml file, lspci:FILE, sysfs:DIR or hwloc:FILE", names)});
}

Result<std::shared_ptr<State>> open_capture(Source source, const MachineOptions& options) {
  if (!options.attach.empty())
    return fail({.code = ErrorCode::invalid_argument,
                 .doing = "attaching a file to",
                 .subject = fmt::format("{} of {}", options.attach.front().drive, source.name),
                 .why = "only software machines take files as drives"});
  if (options.cpu) source.parts->cpu = *options.cpu;
  auto topology = Topology::build(std::move(*source.parts));
  if (!topology) return std::unexpected(std::move(topology.error()));
  return std::make_shared<State>(std::move(source.name), std::move(*topology), std::move(source.why_nothing_moves));
}

}  // namespace barter::machine
