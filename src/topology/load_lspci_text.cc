#include "topology/load_lspci_text.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "topology/bar_overlap.h"
#include "topology/load.h"
#include "topology/load_lspci_around.h"
#include "topology/load_lspci_text_function.h"
#include "topology/load_lspci_text_header.h"

namespace barter::topology {
namespace {

constexpr std::string_view kHowToCapture = "capture it with: sudo lspci -Dnnvvv > FILE";

// "00: 86 80 00 2f ..." as lspci -x prints it.
bool is_hex_line(std::string_view line) {
  const std::size_t colon = line.find(": ");
  return (colon == 2 || colon == 3) &&
         line.substr(0, colon).find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Takes the indentation off the front of `line` and tells how deep it was. lspci indents with tabs. Text that was
// copied off a screen has spaces in their place, always the same number for one tab: the first indented line shows
// how many.
class Indentation {
 public:
  std::size_t take(std::string_view& line) {
    const std::size_t tabs = std::min(line.find_first_not_of('\t'), line.size());
    std::size_t level = tabs;
    line.remove_prefix(tabs);
    const std::size_t spaces = std::min(line.find_first_not_of(' '), line.size());
    if (tabs == 0 && spaces != 0) {
      if (spaces_for_tab_ == 0) spaces_for_tab_ = spaces;
      level = std::max<std::size_t>(1, spaces / spaces_for_tab_);
    }
    line.remove_prefix(spaces);
    return level;
  }

 private:
  std::size_t spaces_for_tab_ = 0;
};

class LspciText {
 public:
  LspciText(std::string_view source, const PciIds& ids) : source_(source), ids_(ids) {}

  Result<TopologyParts> read(std::string_view text) {
    if (text.size() > kMaxLspciBytes)
      return refuse(0, fmt::format("it has {} bytes", text.size()), fmt::format("at most {} are read", kMaxLspciBytes));
    std::string_view last_line;
    std::string_view rest = without_byte_order_mark(text);
    while (!rest.empty()) {
      const std::size_t end = rest.find('\n');
      std::string_view line = rest.substr(0, end);
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
      if (line.ends_with('\r')) line.remove_suffix(1);
      ++line_number_;
      last_line = line;
      if (auto read = read_line(line); !read) return std::unexpected(std::move(read.error()));
    }
    if (auto whole = is_whole(last_line); !whole) return std::unexpected(std::move(whole.error()));
    std::vector<FunctionInfo> claims;
    claims.reserve(functions_.size());
    for (const LspciFunction& function : functions_) claims.push_back(function.claims());
    if (auto apart = refuse_overlapping_bars(claims, source_); !apart) return std::unexpected(std::move(apart.error()));
    return gather();
  }

 private:
  std::unexpected<Error> refuse(std::size_t line, std::string why, std::string_view cure) const {
    return fail({.code = ErrorCode::malformed,
                 .doing = "reading lspci's text",
                 .subject = source_,
                 .where = line == 0 ? std::string() : fmt::format("line {}", line),
                 .why = std::move(why),
                 .cure = std::string(cure)});
  }

  Result<void> read_line(std::string_view line) {
    if (line.size() > kMaxLspciLineBytes || line.find('\0') != std::string_view::npos)
      return refuse(line_number_, "this is no text of lspci", kHowToCapture);
    if (const auto bdf = function_begun_by(line)) return begin_function(line, *bdf);
    if (line.starts_with('\t') || line.starts_with(' ')) return read_detail(line);
    if (!functions_.empty() && is_hex_line(line)) {
      functions_.back().add_hex(line);
    } else if (!line.empty() && !is_other_programs_line(line)) {
      return refuse(line_number_, fmt::format("lspci prints no line that begins '{}'", printable(line)), kHowToCapture);
    }
    return {};
  }

  static std::string printable(std::string_view line) {
    std::string text(line.substr(0, 32));
    std::replace_if(text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return text;
  }

  Result<void> begin_function(std::string_view line, Bdf bdf) {
    const auto [first, is_new] = line_of_function_.emplace(bdf, line_number_);
    if (!is_new)
      return refuse(line_number_,
                    fmt::format("{} is there twice, the first time on line {}", bdf.to_string(), first->second),
                    "the file may hold two dumps: cut it in two");
    if (functions_.size() == kMaxLspciFunctions)
      return refuse(line_number_, fmt::format("there are more than {} functions", kMaxLspciFunctions), "");
    auto header = parse_lspci_header(line, bdf, ids_);
    if (!header)
      return refuse(line_number_, fmt::format("{} has no class and name behind it", bdf.to_string()), kHowToCapture);
    functions_.emplace_back(std::move(*header), line_number_);
    return {};
  }

  Result<void> read_detail(std::string_view line) {
    const std::size_t level = indentation_.take(line);
    if (line.empty()) return {};
    if (functions_.empty())
      return refuse(line_number_, "details of a function come before any function: the beginning is missing",
                    kHowToCapture);
    if (auto wrong = functions_.back().add(level, line)) return refuse(line_number_, std::move(*wrong), kHowToCapture);
    return {};
  }

  // lspci -v ends every function with an empty line, and its last lines before that name the driver. A text that ends
  // with anything else was cut: what is missing must not look like what is not there.
  Result<void> is_whole(std::string_view last_line) const {
    if (functions_.empty())
      return refuse(std::max<std::size_t>(line_number_, 1), "it names no PCI function", kHowToCapture);
    const bool any_details =
        std::any_of(functions_.begin(), functions_.end(), [](const LspciFunction& each) { return each.has_details(); });
    if (!any_details) return refuse(functions_.front().line(), "its functions have no details", kHowToCapture);
    for (const LspciFunction& function : functions_)
      if (function.is_bridge_without_buses())
        return refuse(function.line(),
                      fmt::format("the bridge {} does not say which buses are behind it", function.bdf().to_string()),
                      kHowToCapture);
    std::string_view text = last_line;
    text.remove_prefix(std::min(text.find_first_not_of("\t "), text.size()));
    if (last_line.empty() || text.starts_with("Kernel driver in use: ") || text.starts_with("Kernel modules: ") ||
        is_hex_line(last_line) || is_other_programs_line(last_line))
      return {};
    return refuse(line_number_, fmt::format("the text ends in the middle of {}", functions_.back().bdf().to_string()),
                  "lspci ends every function with an empty line: capture it again, or add one if nothing is missing");
  }

  Result<TopologyParts> gather() {
    TopologyParts parts;
    parts.source = source_;
    parts.cpu = Unknown{"lspci does not tell the CPU"};
    std::map<std::uint32_t, LspciDumpFacts> of_domain;
    bool iommu_groups_seen = false;
    bool virtual_machine = false;
    for (const LspciFunction& function : functions_) {
      of_domain[function.bdf().domain].extended_space_seen |= function.has_extended_capabilities();
      iommu_groups_seen |= function.has_iommu_group();
      virtual_machine |= function.is_of_virtual_machine();
    }
    for (auto& [domain, facts] : of_domain) facts.iommu_groups_seen = iommu_groups_seen;
    parts.iommu =
        Unknown{iommu_groups_seen ? "there are IOMMU groups, but lspci does not tell whether addresses are translated"
                                  : "lspci does not tell"};
    if (virtual_machine)
      parts.is_virtual_machine = true;
    else
      parts.is_virtual_machine = Unknown{"lspci does not tell"};

    const auto physical = physical_functions();
    parts.functions.reserve(functions_.size());
    for (LspciFunction& function : functions_) {
      const LspciDumpFacts& facts = of_domain.at(function.bdf().domain);
      FunctionInfo info = std::move(function).finish(facts);
      if (const auto of = physical.find(info.bdf); of != physical.end()) info.physical_function = of->second;
      parts.functions.push_back(std::move(info));
    }
    return parts;
  }

  // From virtual function to physical one, for those that are in the text.
  std::unordered_map<Bdf, Bdf> physical_functions() const {
    std::unordered_map<Bdf, Bdf> physical;
    std::size_t steps_left = kMaxLspciFunctions * 16;  // a text can claim far more functions than it holds
    for (const LspciFunction& function : functions_) {
      if (!function.virtual_functions()) continue;
      const VirtualFunctions& all = *function.virtual_functions();
      if (all.first_offset == 0 || (all.stride == 0 && all.count > 1)) continue;  // no such registers are possible
      std::uint32_t id = std::uint32_t{function.bdf().requester_id()} + all.first_offset;
      for (std::uint32_t i = 0; i < all.count && id <= 0xffff && steps_left != 0; ++i, --steps_left, id += all.stride) {
        const Bdf virtual_function = Bdf::from_requester_id(function.bdf().domain, static_cast<std::uint16_t>(id));
        if (line_of_function_.contains(virtual_function)) physical.emplace(virtual_function, function.bdf());
      }
    }
    return physical;
  }

  std::string source_;
  const PciIds& ids_;
  std::size_t line_number_ = 0;
  Indentation indentation_;
  std::vector<LspciFunction> functions_;
  std::unordered_map<Bdf, std::size_t> line_of_function_;
};

}  // namespace

Result<TopologyParts> load_lspci_text(std::string_view text, std::string_view source, const PciIds& ids) {
  return LspciText(source, ids).read(text);
}

Result<TopologyParts> load_lspci_text(std::string_view text, std::string_view source) {
  return load_lspci_text(text, source, PciIds::installed());
}

}  // namespace barter::topology
