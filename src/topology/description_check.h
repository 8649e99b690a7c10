// What makes a description a machine: names are told apart, everything is plugged into something, and it is a tree.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "topology/description_reader.h"

namespace barter::topology {

enum class PartKind : std::uint8_t { root_complex, port, switch_, function };

// Who is called what, and on which line that was said.
class PartNames {
 public:
  struct Part {
    PartKind kind = PartKind::function;
    std::uint64_t line = 0;
  };
  // Reports names that are taken.
  void add(DescriptionErrors& errors, const std::string& name, PartKind kind, std::uint64_t line);
  [[nodiscard]] const Part* find(const std::string& name) const;
  [[nodiscard]] std::uint64_t line_of(const std::string& name) const;

 private:
  std::map<std::string, Part> parts_;
};

// Reports whatever keeps `machine` from being a tree that can be enumerated.
void check_tree(const Description& machine, const PartNames& names, DescriptionErrors& errors);

}  // namespace barter::topology
