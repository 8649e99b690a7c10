#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "barter/system.hpp"
#include "doctor/read_kernel_options.h"
#include "doctor/read_system_parts.h"
#include "topology/load_sysfs_files.h"

namespace barter {
namespace {
namespace fs = std::filesystem;
using topology::sysfs::read_attribute;

// A release becomes part of file names, so it must be one that uname could give, and no path.
bool is_release(std::string_view text) {
  constexpr std::size_t kLongest = 64;  // uname's field
  return !text.empty() && text.size() <= kLongest && text.front() != '.' &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
                  c == '_' || c == '+' || c == '~';
         });
}

Result<Known<std::string>> read_release(const fs::path& root) {
  const fs::path file = root / "proc" / "sys" / "kernel" / "osrelease";
  auto release = read_attribute(file);
  if (!release) return std::unexpected(std::move(release.error()));
  if (!*release) {
    // "Linux version 6.1.0-18-amd64 (...) ..."
    const auto version = read_attribute(root / "proc" / "version");
    if (!version) return std::unexpected(version.error());
    if (!*version) return Known<std::string>(Unknown{release->why_unknown()});
    constexpr std::string_view kBefore = "Linux version ";
    const std::string_view text = **version;
    const std::string_view rest = text.starts_with(kBefore) ? text.substr(kBefore.size()) : std::string_view();
    release = Known<std::string>(std::string(rest.substr(0, rest.find(' '))));
  }
  if (!is_release(**release))
    return fail(topology::sysfs::file_error(ErrorCode::malformed, file, "this is not the release of a kernel"));
  return release;
}

// A parameter of a module: Y, N, 1 or 0.
Result<Known<bool>> read_parameter(const fs::path& root, std::string_view module, std::string_view name) {
  const fs::path file = root / "sys" / "module" / module / "parameters" / name;
  const auto text = read_attribute(file);
  if (!text) return std::unexpected(text.error());
  if (!*text) return Known<bool>(Unknown{text->why_unknown()});
  if (**text == "Y" || **text == "1") return Known<bool>(true);
  if (**text == "N" || **text == "0") return Known<bool>(false);
  return Known<bool>(Unknown{fmt::format("{} is neither Y nor N", file.string())});
}

// Captures have no device nodes, so that a missing one tells something on the computer itself only.
Known<bool> has_node(const fs::path& root, std::string_view name) {
  std::error_code error;
  if (root != "/") return Unknown{"a capture doesn't tell of device nodes"};
  return fs::is_character_file(root / "dev" / name, error);
}

template <class T>
Result<void> take(T& into, Result<T> read) {
  if (!read) return std::unexpected(std::move(read.error()));
  into = std::move(*read);
  return {};
}

Result<void> read_kernel(const fs::path& root, SystemFacts& facts) {
  if (auto taken = take(facts.kernel_release, read_release(root)); !taken) return taken;
  if (auto taken = take(facts.command_line, read_attribute(root / "proc" / "cmdline")); !taken) return taken;
  std::optional<std::string> release;
  if (facts.kernel_release) release = *facts.kernel_release;
  if (auto taken = take(facts.options, doctor::read_kernel_options(root, release)); !taken) return taken;
  if (auto taken = take(facts.nvme_multipath, read_parameter(root, "nvme_core", "multipath")); !taken) return taken;
  return take(facts.queues_in_cmb, read_parameter(root, "nvme", "use_cmb_sqes"));
}

}  // namespace

const FunctionUse* SystemFacts::use_of(Bdf bdf) const {
  const auto at = std::lower_bound(functions.begin(), functions.end(), bdf,
                                   [](const FunctionUse& function, Bdf wanted) { return function.bdf < wanted; });
  return at == functions.end() || at->bdf != bdf ? nullptr : &*at;
}

const KernelOption* SystemFacts::option(std::string_view name) const {
  const auto at =
      std::find_if(options.begin(), options.end(), [name](const KernelOption& option) { return option.name == name; });
  return at == options.end() ? nullptr : &*at;
}

Result<SystemFacts> read_system(const fs::path& root) {
  SystemFacts facts{.root = root.string()};
  if (auto read = read_kernel(root, facts); !read) return std::unexpected(std::move(read.error()));
  facts.has_vfio = has_node(root, "vfio/vfio");
  facts.has_iommufd = has_node(root, "iommu");
  if (auto taken = take(facts.numa_distances, doctor::read_numa_distances(root)); !taken)
    return std::unexpected(std::move(taken.error()));
  if (auto taken = take(facts.functions, doctor::read_function_use(root)); !taken)
    return std::unexpected(std::move(taken.error()));
  if (root == "/") {
    if (auto read = doctor::read_user(root, facts); !read) return std::unexpected(std::move(read.error()));
  } else {
    const Unknown why{"a capture doesn't tell what its user may do"};
    facts.may_administer = why;
    facts.may_lock_memory = why;
    facts.memlock_bytes = why;
  }
  return facts;
}

SystemFacts unknown_system(const std::string& why) {
  const Unknown unknown{why};
  SystemFacts facts{.kernel_release = unknown,
                    .command_line = unknown,
                    .nvme_multipath = unknown,
                    .queues_in_cmb = unknown,
                    .has_vfio = unknown,
                    .has_iommufd = unknown,
                    .numa_distances = unknown,
                    .may_administer = unknown,
                    .may_lock_memory = unknown,
                    .memlock_bytes = unknown};
  return facts;
}

}  // namespace barter
