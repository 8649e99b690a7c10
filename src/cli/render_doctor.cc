// What barter doctor prints.
#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/arguments.h"
#include "cli/verb_doctor.h"

namespace barter::cli {
namespace {

constexpr std::size_t kWidth = 110;
constexpr std::size_t kIndent = 4;

Colour colour_of(Severity severity) {
  switch (severity) {
    case Severity::blocker:
      return Colour::red;
    case Severity::warning:
    case Severity::unknown:
      return Colour::yellow;
    case Severity::info:
      return Colour::green;
  }
  return Colour::none;
}

// Findings that differ only in whose they are, such as the ports of one switch, are told together.
struct Group {
  const Finding* first = nullptr;
  std::vector<const Finding*> all;
};

std::vector<Group> grouped(const std::vector<Finding>& findings) {
  std::vector<Group> groups;
  for (const Finding& finding : findings) {
    const bool goes_along = !groups.empty() && groups.back().first->severity == finding.severity &&
                            groups.back().first->code == finding.code &&
                            groups.back().first->meaning == finding.meaning;
    if (!goes_along) groups.push_back({.first = &finding, .all = {}});
    groups.back().all.push_back(&finding);
  }
  return groups;
}

// The remedies of all, each command once. Those with one effect stand under each other, and it is told once.
std::vector<Remedy> merged_remedies(const Group& group) {
  std::vector<Remedy> merged;
  for (const Finding* finding : group.all)
    for (const Remedy& remedy : finding->remedies) {
      const auto same_command = [&](const Remedy& other) { return other.command == remedy.command; };
      if (std::ranges::any_of(merged, same_command)) continue;
      const auto same_effect = std::find_if(merged.rbegin(), merged.rend(), [&](const Remedy& other) {
        return other.effect == remedy.effect && other.cost == remedy.cost;
      });
      merged.insert(same_effect == merged.rend() ? merged.end() : same_effect.base(), remedy);
    }
  return merged;
}

bool same_commands(const std::vector<Remedy>& left, const std::vector<Remedy>& right) {
  return std::ranges::equal(left, right, {}, &Remedy::command, &Remedy::command);
}

std::string paragraph(std::string_view text) {
  return std::string(kIndent, ' ') + wrapped(printable(text), kIndent, kWidth) + "\n";
}

std::string remedies_text(const std::vector<Remedy>& remedies, const Style& style) {
  constexpr std::size_t kDeeper = kIndent + 4;
  std::string text;
  std::string_view told_cost;
  for (std::size_t i = 0; i < remedies.size(); ++i) {
    const Remedy& remedy = remedies[i];
    // Commands with one effect, such as one for each port, belong together.
    const bool goes_along = i > 0 && remedies[i - 1].effect == remedy.effect && remedies[i - 1].cost == remedy.cost;
    text += fmt::format("    {} {}\n",
                        i == 0       ? "do "
                        : goes_along ? "and"
                                     : "or ",
                        style.paint(Colour::cyan, printable(remedy.command)));
    if (i + 1 < remedies.size() && remedies[i + 1].effect == remedy.effect && remedies[i + 1].cost == remedy.cost)
      continue;
    std::string what = remedy.effect;
    const bool is_told = remedy.cost.size() > 20 && remedy.cost == told_cost;
    if (!remedy.cost.empty()) what += fmt::format(". It costs: {}", is_told ? "the same" : remedy.cost);
    told_cost = remedy.cost;
    text += std::string(kDeeper, ' ') + wrapped(printable(what), kDeeper, kWidth) + "\n";
  }
  return text;
}

// With `remedies` or without, where those of the next group are the same.
std::string group_text(const Group& group, const std::vector<Remedy>& remedies, const Style& style) {
  const Finding& first = *group.first;
  std::string text =
      fmt::format("{} {}\n", style.paint(colour_of(first.severity), fmt::format("{:<8}", name_of(first.severity))),
                  style.paint(Colour::dim, first.code));
  for (const Finding* finding : group.all)
    text += "  " + style.paint(Colour::bold, wrapped(printable(finding->fact), 2, kWidth)) + "\n";
  const std::size_t others = group.all.size() - 1;
  text += paragraph(fmt::format("read from: {}{}", first.source, others == 0 ? "" : ", and so on"));
  if (!first.meaning.empty()) text += paragraph(first.meaning);
  text += remedies_text(remedies, style);
  return text;
}

std::string leg_text(const ProbeLeg& leg, const Style& style) {
  std::string text = fmt::format("  {} to {}{}: ", printable(leg.from), printable(leg.to),
                                 leg.via ? fmt::format(", through the memory of {}", printable(*leg.via)) : "");
  if (leg.error) return text + style.paint(Colour::red, "not copied") + "\n" + paragraph(leg.error->message());
  if (leg.first_wrong_byte)
    text += style.paint(Colour::red,
                        fmt::format("WRONG: {} bytes, the first at byte {}", leg.wrong_bytes, *leg.first_wrong_byte));
  else
    text += style.paint(Colour::green, "every byte right");
  text += "\n" + paragraph(leg.route);
  text += paragraph(fmt::format("{} bytes of data through host memory", leg.copy.host_memory_bytes));
  return text;
}

using Json = nlohmann::ordered_json;

// Of an object for programs: the best remedy has its place beside the fact, the rest are in a list.
Json json_of(const Finding& finding) {
  Json others = Json::array();
  for (std::size_t i = 1; i < finding.remedies.size(); ++i) {
    const Remedy& remedy = finding.remedies[i];
    others.push_back({{"remedy", remedy.command}, {"effect", remedy.effect}, {"cost", remedy.cost}});
  }
  const Remedy best = finding.remedies.empty() ? Remedy{} : finding.remedies.front();
  const auto text_or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  return {{"severity", name_of(finding.severity)},
          {"code", finding.code},
          {"subject", finding.subject},
          {"fact", finding.fact},
          {"source", finding.source},
          {"meaning", finding.meaning},
          {"remedy", text_or_null(best.command)},
          {"effect", text_or_null(best.effect)},
          {"cost", text_or_null(best.cost)},
          {"other_remedies", others}};
}

Json json_of(const ProbeLeg& leg) {
  const bool copied = !leg.error;
  return {{"from", leg.from},
          {"to", leg.to},
          {"via", leg.via ? Json(*leg.via) : Json()},
          {"passed", leg.passed()},
          {"error", leg.error ? Json(leg.error->message()) : Json()},
          {"error_code", leg.error ? Json(name_of(leg.error->code)) : Json()},
          {"route", copied ? Json(leg.route) : Json()},
          {"bytes", leg.copy.bytes},
          {"host_memory_bytes", copied ? Json(leg.copy.host_memory_bytes) : Json()},
          {"wrong_bytes", copied ? Json(leg.wrong_bytes) : Json()},
          {"first_wrong_byte", leg.first_wrong_byte ? Json(*leg.first_wrong_byte) : Json()}};
}

Json json_of(const ProbeReport& report) {
  Json legs = Json::array();
  for (const ProbeLeg& leg : report.legs) legs.push_back(json_of(leg));
  Json not_restored = Json::array();
  for (const Error& error : report.not_restored) not_restored.push_back(error.message());
  return {{"passed", report.passed()}, {"bytes", report.bytes}, {"legs", legs}, {"not_restored", not_restored}};
}

}  // namespace

std::string findings_text(const std::string& machine, const std::vector<Finding>& findings, const Style& style) {
  std::array<std::size_t, 4> counts{};
  for (const Finding& finding : findings) ++counts[static_cast<std::size_t>(finding.severity)];
  std::string text =
      fmt::format("{}: {} blocker{}, {} warning{}, {} not known, {} fine or for information\n", printable(machine),
                  counts[0], counts[0] == 1 ? "" : "s", counts[1], counts[1] == 1 ? "" : "s", counts[2], counts[3]);
  const std::vector<Group> groups = grouped(findings);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    std::vector<Remedy> remedies = merged_remedies(groups[i]);
    const bool goes_on = i + 1 < groups.size() && groups[i + 1].first->code == groups[i].first->code &&
                         same_commands(remedies, merged_remedies(groups[i + 1]));
    if (goes_on) remedies.clear();
    text += "\n" + group_text(groups[i], remedies, style);
  }
  return text;
}

std::string probe_text(const ProbeReport& report, const Style& style) {
  std::string text = fmt::format("\nprobe, {} each way\n", format_size(report.bytes));
  for (const ProbeLeg& leg : report.legs) text += leg_text(leg, style);
  if (report.not_restored.empty()) text += "  the scratch space holds what it held before\n";
  for (const Error& error : report.not_restored)
    text +=
        "  " + style.paint(Colour::red, "NOT RESTORED: ") + wrapped(printable(error.message()), kIndent, kWidth) + "\n";
  return text;
}

std::string doctor_json(const std::string& machine, const std::vector<Finding>& findings, const ProbeReport* report) {
  Json list = Json::array();
  for (const Finding& finding : findings) list.push_back(json_of(finding));
  Json json{{"machine", machine}, {"findings", list}};
  if (report != nullptr) json["probe"] = json_of(*report);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace barter::cli
