#include "pci/dump.h"

#include <iterator>

#include <fmt/format.h>

#include "pci/config_header.h"

namespace barter::pci {
namespace {

constexpr std::size_t kBytesPerLine = 16;

void dump_one(const DumpedFunction& function, std::string& text) {
  const auto class_revision = function.config.load<ClassRevision>().value_or(ClassRevision{});
  const auto vendor = function.config.load<VendorId>().value_or(VendorId{});
  const auto device = function.config.load<DeviceId>().value_or(DeviceId{});
  auto out = std::back_inserter(text);
  // Only the address is read back; the rest of the line is for people.
  fmt::format_to(out, "{} Class {:04x}: {:04x}:{:04x}\n", function.bdf.to_string(), class_revision.raw >> 16,
                 vendor.raw, device.raw);
  const auto bytes = function.config.bytes();
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (at % kBytesPerLine == 0) fmt::format_to(out, "{}{:02x}:", at == 0 ? "" : "\n", at);
    fmt::format_to(out, " {:02x}", bytes[at]);
  }
  text += bytes.empty() ? "\n" : "\n\n";
}

}  // namespace

std::string dump(std::span<const DumpedFunction> functions) {
  std::string text;
  for (const DumpedFunction& function : functions) dump_one(function, text);
  return text;
}

}  // namespace barter::pci
