#include "cli/render_verdict.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "cli/render_topology.h"

namespace barter::cli {
namespace {

std::string called(const Topology& topology, Bdf bdf) {
  const FunctionInfo* function = topology.find(bdf);
  if (function == nullptr || function->name.empty()) return bdf.to_string();
  return fmt::format("{} ({})", printable(function->name), bdf.to_string());
}

std::string_view meaning_of(Route route) {
  switch (route) {
    case Route::bus_address:
      return "direct: turned around below the root complex";
    case Route::through_host_bridge:
      return "direct, through the root complex";
    case Route::link:
      return "direct, by a link of its own";
    case Route::not_supported:
      return "no direct way";
    case Route::unknown:
      return "not known";
  }
  return "";
}

constexpr std::size_t kWidth = 110;

std::string facts_text(const std::vector<Fact>& facts, const Style& style) {
  constexpr std::size_t kIndent = 6;
  std::string text;
  for (const Fact& fact : facts) {
    text += fmt::format("    {} {} = {}\n", style.paint(Colour::bold, printable(fact.function)), printable(fact.reg),
                        style.paint(fact.value == "unknown" ? Colour::yellow : Colour::none, printable(fact.value)));
    text += std::string(kIndent, ' ') + wrapped(printable(fact.says), kIndent, kWidth) + "\n";
  }
  return text;
}

std::string answer_text(std::string_view rule, Route route, const std::string& more, const Style& style) {
  return fmt::format("  {:<14}{}: {}{}\n", rule, style.paint(colour_of(route), name_of(route)), meaning_of(route),
                     more);
}

bool same_facts(const std::vector<Fact>& left, const std::vector<Fact>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), [](const Fact& a, const Fact& b) {
    return a.function == b.function && a.reg == b.reg && a.value == b.value && a.says == b.says;
  });
}

}  // namespace

std::string verdict_text(const Topology& topology, const Verdict& verdict, const Style& style) {
  constexpr std::size_t kIndent = 4;
  std::string text = fmt::format("DMA by {} to the memory of {}\n", called(topology, verdict.client),
                                 called(topology, verdict.provider));
  if (!verdict.path.empty()) {
    std::string path;
    for (const Bdf bdf : verdict.path) path += (path.empty() ? "" : " → ") + bdf.to_string();
    text += "  path " + wrapped(path, 7, kWidth) + "\n";
  }
  const auto& [client, provider, by_linux, by_wire, path] = verdict;
  text += "\n" + answer_text("Linux", by_linux.route,
                             by_linux.distance ? fmt::format(" (distance {})", *by_linux.distance) : "", style);
  text += facts_text(by_linux.facts, style);
  if (by_wire.read.route == by_wire.write.route && same_facts(by_wire.read.facts, by_wire.write.facts)) {
    text += "\n" + answer_text("wire", by_wire.read.route, " (reads and writes)", style);
    text += facts_text(by_wire.read.facts, style);
  } else {
    text += "\n" + answer_text("wire, reads", by_wire.read.route, "", style) + facts_text(by_wire.read.facts, style);
    text += "\n" + answer_text("wire, writes", by_wire.write.route, "", style) + facts_text(by_wire.write.facts, style);
  }
  if (!by_linux.remedies.empty()) text += "\nWhat would change it\n";
  for (const Remedy& remedy : by_linux.remedies) {
    text += fmt::format("  {}\n", style.paint(Colour::cyan, printable(remedy.command)));
    text += std::string(kIndent, ' ') + wrapped(printable(remedy.effect), kIndent, kWidth) + "\n";
    if (!remedy.cost.empty())
      text += std::string(kIndent, ' ') + wrapped("It costs: " + printable(remedy.cost), kIndent, kWidth) + "\n";
  }
  return text;
}

std::string beside_text(const Beside& beside, const Style& style) {
  std::string text;
  for (const InterconnectAnswer& answer : beside.interconnects) {
    if (answer.facts.empty()) continue;  // it does not join these two
    text += "\n" + answer_text(answer.name, answer.route, "", style) + facts_text(answer.facts, style);
  }
  if (text.empty()) return text;
  const std::string by = beside.best.by.empty() ? "none" : printable(beside.best.by);
  return text + fmt::format("\nThe best way: {} ({})\n  {}\n", style.paint(Colour::bold, by),
                            style.paint(colour_of(beside.best.route), name_of(beside.best.route)),
                            wrapped(printable(beside.best.why), 2, kWidth));
}

}  // namespace barter::cli
