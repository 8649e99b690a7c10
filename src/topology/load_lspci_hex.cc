#include <algorithm>
#include <fstream>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "pci/dump.h"
#include "topology/bar_overlap.h"
#include "topology/from_config.h"
#include "topology/load.h"
#include "topology/load_lspci_hex_libpci.h"
#include "topology/load_lspci_hex_text.h"

namespace barter::topology {
namespace {

Error file_error(ErrorCode code, const std::filesystem::path& file, std::string why, std::string cure = {}) {
  return {.code = code,
          .doing = "reading the hex dump",
          .subject = file.string(),
          .where = {},
          .why = std::move(why),
          .cure = std::move(cure)};
}

Result<std::string> read_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return fail(file_error(ErrorCode::not_found, path, "there is no such file"));
  if (!std::filesystem::is_regular_file(status))
    return fail(file_error(ErrorCode::invalid_argument, path, "it is not a file"));
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return fail(file_error(ErrorCode::io_failed, path, "it can't be opened", "look at its permissions"));
  const auto size = std::filesystem::file_size(path, error);
  if (error) return fail(file_error(ErrorCode::io_failed, path, error.message()));
  if (size > kMaxDumpBytes)
    return fail(file_error(ErrorCode::malformed, path, fmt::format("it is larger than {} MiB", kMaxDumpBytes >> 20)));
  std::string text(size, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  return text;
}

void connect_virtual_functions(std::vector<FunctionInfo>& functions, const std::vector<pci::DumpedFunction>& dumped) {
  std::unordered_map<Bdf, std::size_t> index;
  for (std::size_t at = 0; at < functions.size(); ++at) index.emplace(functions[at].bdf, at);
  for (std::size_t at = 0; at < functions.size(); ++at) {
    for (const Bdf bdf : virtual_functions_of(functions[at].bdf, dumped[at].config)) {
      const auto found = index.find(bdf);
      if (found != index.end() && found->second != at)
        complete_virtual_function(functions[found->second], functions[at]);
    }
  }
}

}  // namespace

Result<TopologyParts> load_lspci_hex(const std::filesystem::path& file) {
  const auto bytes = read_file(file);
  if (!bytes) return fail(bytes.error());
  const auto text = check_hex_text(*bytes, file.string());
  if (!text) return fail(text.error());
  const auto dumped = read_dump_with_libpci(text->for_libpci, file.string());
  if (!dumped) return fail(dumped.error());
  if (dumped->size() != text->functions.size())
    return fail(file_error(
        ErrorCode::malformed, file,
        fmt::format("libpci finds {} functions in it, and it has {}", dumped->size(), text->functions.size())));

  TopologyParts parts;
  parts.source = "lspci:" + file.string();
  parts.functions.reserve(dumped->size());
  for (const pci::DumpedFunction& function : *dumped) {
    auto info = describe_function(function.bdf, function.config);
    if (!info) {
      Error error = config_error(function.bdf, info.error(), file.string());
      error.where = fmt::format("line {}, {}", text->line_of(function.bdf, info.error().offset), error.where);
      return fail(std::move(error));
    }
    parts.functions.push_back(*std::move(info));
  }
  connect_virtual_functions(parts.functions, *dumped);
  if (auto overlap = refuse_overlapping_bars(parts.functions, file.string()); !overlap) return fail(overlap.error());
  parts.cpu = Unknown{"a dump of config space doesn't name the processor"};
  parts.iommu = Unknown{"a dump of config space doesn't tell of the IOMMU"};
  parts.is_virtual_machine = Unknown{"a dump of config space doesn't tell whether it is of a virtual machine"};
  return parts;
}

}  // namespace barter::topology
