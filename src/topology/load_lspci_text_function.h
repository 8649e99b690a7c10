// One function of an lspci text on its way to being a FunctionInfo: takes the lines below the first one, and says at
// the end what could not be known and why.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "barter/topology.hpp"

namespace barter::topology {

// What the dump as a whole tells, and no function of it alone.
struct LspciDumpFacts {
  bool extended_space_seen = false;  // some function of this domain shows an extended capability
  bool iommu_groups_seen = false;
};

// How to find the virtual functions of a physical one (PCIe 6.0, 9.3.3.8 to 9.3.3.10).
struct VirtualFunctions {
  std::uint16_t count = 0;
  std::uint16_t first_offset = 0;
  std::uint16_t stride = 0;
};

class LspciFunction {
 public:
  // `line` is the number of the function's first line.
  LspciFunction(FunctionInfo header, std::size_t line) : info_(std::move(header)), line_(line) {}

  // A line that is indented `level` times, without its indentation. Lines of no interest are skipped. Returns what is
  // wrong with the line, if anything is.
  [[nodiscard]] std::optional<std::string> add(std::size_t level, std::string_view text);
  // A line of `lspci -x`: "00: 86 80 00 2f ...".
  void add_hex(std::string_view line);

  [[nodiscard]] Bdf bdf() const { return info_.bdf; }
  [[nodiscard]] std::size_t line() const { return line_; }
  [[nodiscard]] bool has_details() const { return has_details_; }
  [[nodiscard]] bool has_extended_capabilities() const { return extended_seen_; }
  [[nodiscard]] bool has_iommu_group() const { return info_.iommu_group.has_value(); }
  [[nodiscard]] bool is_of_virtual_machine() const { return of_virtual_machine_; }
  // The function with only those BARs that it answers at: a BAR that is turned off may hold any address, and so may one
  // that the kernel thinks to be elsewhere.
  [[nodiscard]] FunctionInfo claims() const { return {.bdf = info_.bdf, .bars = claimed_bars_}; }
  // A bridge's header says which buses are behind it. Without that line nothing below the bridge can be placed.
  [[nodiscard]] bool is_bridge_without_buses() const;
  [[nodiscard]] const std::optional<VirtualFunctions>& virtual_functions() const { return virtual_functions_; }

  [[nodiscard]] FunctionInfo finish(const LspciDumpFacts& dump) &&;

 private:
  enum class Section : std::uint8_t { header, express, access_control, translation_services, virtualization, other };

  std::optional<std::string> add_header_line(std::string_view text);
  std::optional<std::string> add_region(std::string_view text);
  std::optional<std::string> add_buses(std::string_view text);
  void begin_capability(std::string_view text);
  void begin_express(std::string_view text);
  void add_express_line(std::string_view text);
  void add_access_control_line(std::string_view text);
  void add_virtualization_line(std::string_view text);
  [[nodiscard]] std::string why_not_read() const;
  void settle_access_control(const LspciDumpFacts& dump);

  FunctionInfo info_;
  std::vector<BarInfo> claimed_bars_;
  std::size_t line_;
  Section section_ = Section::header;
  std::string_view register_;  // of the Express capability: "DevCtl", as long as its lines go on
  bool has_details_ = false;
  bool capabilities_seen_ = false;
  bool capabilities_none_ = false;  // the function has no list
  bool status_seen_ = false;
  bool extended_seen_ = false;
  bool express_seen_ = false;
  bool access_denied_ = false;
  bool chain_broken_ = false;
  bool gone_ = false;
  bool of_virtual_machine_ = false;
  bool access_control_seen_ = false;
  std::optional<std::uint16_t> access_control_capability_;
  std::optional<std::uint16_t> access_control_control_;
  std::uint16_t access_control_offset_ = 0;
  bool translation_services_seen_ = false;
  bool virtualization_enabled_ = false;
  std::optional<VirtualFunctions> virtual_functions_;
};

}  // namespace barter::topology
