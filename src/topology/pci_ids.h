// The names of PCI vendors, devices and classes (pci.ids), looked up backwards: from a name, as lspci prints it, to
// its number.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "barter/known.hpp"

namespace barter::topology {

class PciIds {
 public:
  // Reads the text of pci.ids. Lines that don't follow its format are skipped: the worst is a name that is not found.
  explicit PciIds(std::string text);
  PciIds(const PciIds&) = delete;
  PciIds& operator=(const PciIds&) = delete;

  // This computer's list, read when first asked for; empty if there is none.
  [[nodiscard]] static const PciIds& installed();
  [[nodiscard]] bool empty() const { return vendors_.empty(); }

  // What lspci prints behind the class: vendor and device, each a name or "Device" and a number. Names that are not
  // in the list, or there twice, come out unknown.
  struct Identity {
    Known<std::uint16_t> vendor;
    Known<std::uint16_t> device;
    std::string vendor_name;
    std::string device_name;
  };
  [[nodiscard]] Identity identify(std::string_view vendor_and_device) const;
  // "PCI bridge": 0x0604.
  [[nodiscard]] Known<std::uint16_t> class_named(std::string_view name) const;
  // The vendor's name at the start of `vendor_and_device`, or nothing.
  [[nodiscard]] std::string_view vendor_name_in(std::string_view vendor_and_device) const;

 private:
  using NumbersOfName = std::unordered_map<std::string_view, std::vector<std::uint16_t>>;
  void add_line(std::string_view line);

  std::string text_;  // what all the views point into
  NumbersOfName vendors_;
  std::unordered_map<std::uint16_t, NumbersOfName> devices_;  // by vendor
  NumbersOfName classes_;
  // While reading:
  bool in_classes_ = false;
  bool in_section_ = false;
  std::uint16_t section_ = 0;
};

}  // namespace barter::topology
