#include "doctor/read_kernel_options.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

#include <fmt/format.h>

#include "topology/load_sysfs_files.h"

namespace barter::doctor {
namespace {
namespace fs = std::filesystem;
using topology::sysfs::read_prefix;

// What proves an option where there is no configuration to read: a symbol that is compiled in with it, or a module.
struct Option {
  std::string_view name;
  std::string_view symbol;  // in kallsyms; empty: none that is always there
  std::string_view module;  // in modules.builtin or modules.dep; empty: it can't be one
};
constexpr std::array kOptions = {
    Option{"CONFIG_PCI_P2PDMA", "pci_p2pdma_distance_many", ""},
    Option{"CONFIG_ZONE_DEVICE", "memremap_pages", ""},
    Option{"CONFIG_IO_URING", "__io_uring_cancel", ""},
    Option{"CONFIG_VFIO_PCI", "", "vfio-pci.ko"},
    Option{"CONFIG_VFIO_PCI_DMABUF", "", ""},
    Option{"CONFIG_IOMMUFD", "", "iommufd.ko"},
};

std::vector<KernelOption> options_in(std::string_view config, const std::string& source) {
  std::vector<KernelOption> options;
  options.reserve(kOptions.size());
  for (const Option& option : kOptions)
    options.push_back({.name = std::string(option.name), .state = option_in(config, option.name), .source = source});
  return options;
}

// Nothing: there is no such file, or it may not be read.
Result<std::optional<std::string>> read_whole(const fs::path& file, std::size_t most) {
  auto contents = read_prefix(file, most + 1);
  if (!contents) return std::unexpected(std::move(contents.error()));
  if (contents->bytes && contents->bytes->size() > most)
    return fail(
        topology::sysfs::file_error(ErrorCode::malformed, file, fmt::format("it holds more than {} bytes", most)));
  return std::move(contents->bytes);
}

// Is there a line that ends with this name after a blank or a slash? Read in pieces: kallsyms has megabytes.
bool file_names(const fs::path& file, std::string_view name, std::size_t most) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return false;
  std::ifstream stream(file, std::ios::binary);
  std::string line;
  for (std::size_t read = 0; read < most && std::getline(stream, line); read += line.size() + 1) {
    // "ffffffff81234567 T symbol", "symbol [module]", "kernel/drivers/vfio/pci/vfio-pci.ko.xz: ..."
    const std::size_t at = line.find(name);
    if (at == std::string::npos || at == 0 || (line[at - 1] != ' ' && line[at - 1] != '/')) continue;
    const char after = at + name.size() < line.size() ? line[at + name.size()] : '\n';
    if (after == '\n' || after == '\t' || after == ' ' || after == ':' || after == '.') return true;
  }
  return false;
}

class Prover {
 public:
  Prover(const fs::path& root, const std::optional<std::string>& release, std::string why)
      : symbols_(root / "proc" / "kallsyms"), why_(std::move(why)) {
    if (release) modules_ = root / "lib" / "modules" / *release;
  }

  KernelOption prove(const Option& option) const {
    KernelOption answer{.name = std::string(option.name), .state = Unknown{why_}, .source = {}};
    std::error_code error;
    if (!option.symbol.empty() && fs::is_regular_file(symbols_, error)) {
      answer.source = symbols_.string();
      answer.state = file_names(symbols_, option.symbol, kMaxKernelSymbolBytes) ? OptionState::yes : OptionState::no;
    } else if (!option.module.empty() && !modules_.empty()) {
      prove_by_module(option, answer);
    }
    return answer;
  }

 private:
  void prove_by_module(const Option& option, KernelOption& answer) const {
    std::error_code error;
    const fs::path builtin = modules_ / "modules.builtin";
    const fs::path loadable = modules_ / "modules.dep";
    if (!fs::is_regular_file(builtin, error) || !fs::is_regular_file(loadable, error)) return;
    const bool is_builtin = file_names(builtin, option.module, kMaxModuleListBytes);
    const bool is_module = !is_builtin && file_names(loadable, option.module, kMaxModuleListBytes);
    answer.source = (is_builtin ? builtin : loadable).string();
    answer.state = is_builtin ? OptionState::yes : is_module ? OptionState::module : OptionState::no;
  }

  fs::path symbols_;
  fs::path modules_;
  std::string why_;
};

}  // namespace

OptionState option_in(std::string_view config, std::string_view name) {
  while (!config.empty()) {
    const std::string_view line = config.substr(0, config.find('\n'));
    if (line.starts_with(name) && line.size() == name.size() + 2 && line[name.size()] == '=') {
      if (line.back() == 'y') return OptionState::yes;
      if (line.back() == 'm') return OptionState::module;
    }
    config.remove_prefix(std::min(line.size() + 1, config.size()));
  }
  return OptionState::no;
}

Result<std::string> unpack(std::string_view packed, std::string_view name) {
  const auto broken = [name](std::string why) {
    return fail(
        {.code = ErrorCode::malformed, .doing = "unpacking", .subject = std::string(name), .why = std::move(why)});
  };
  z_stream stream{};
  constexpr int kGzip = 16 + MAX_WBITS;
  if (inflateInit2(&stream, kGzip) != Z_OK) return broken("zlib could not begin");
  std::string text(kMaxConfigBytes + 1, '\0');
  std::string input(packed);  // zlib's interface takes no constant bytes
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  const int ended = inflate(&stream, Z_FINISH);
  text.resize(stream.total_out);
  inflateEnd(&stream);
  if (text.size() > kMaxConfigBytes) return broken(fmt::format("it unpacks to more than {} bytes", kMaxConfigBytes));
  if (ended != Z_STREAM_END) return broken("it is no whole gzip file");
  return text;
}

Result<std::vector<KernelOption>> read_kernel_options(const fs::path& root, const std::optional<std::string>& release) {
  const fs::path packed_file = root / "proc" / "config.gz";
  auto packed = read_whole(packed_file, kMaxConfigBytes);
  if (!packed) return std::unexpected(std::move(packed.error()));
  if (*packed) {
    const auto config = unpack(**packed, packed_file.string());
    if (!config) return std::unexpected(config.error());
    return options_in(*config, packed_file.string());
  }
  std::vector<fs::path> files;
  if (release) files = {root / "boot" / ("config-" + *release), root / "lib" / "modules" / *release / "config"};
  for (const fs::path& file : files) {
    auto config = read_whole(file, kMaxConfigBytes);
    if (!config) return std::unexpected(std::move(config.error()));
    if (*config) return options_in(**config, file.string());
  }
  std::string why = fmt::format("there is no {}", packed_file.string());
  for (const fs::path& file : files) why += fmt::format(", no {}", file.string());
  const Prover prover(root, release, std::move(why));
  std::vector<KernelOption> options;
  options.reserve(kOptions.size());
  for (const Option& option : kOptions) options.push_back(prover.prove(option));
  return options;
}

}  // namespace barter::doctor
