// compare_verdicts [--iommu-translates] ANSWERS NAME=VERDICTS[,TOPOLOGY]...: the kernel's answers, as ask_kernel wrote them, against what `barter why --all
// --json` said of the same machine, read in several ways. Every pair that the kernel was asked about has to be there, with the
// kernel's route, and its distance where it told one. With a TOPOLOGY, of `barter topo --json`, the drives are found by their
// names, because the machine as it is described has other bus numbers. Where NAME ends with a question mark, an unknown route
// agrees with all: it read the machine without root. Status 1 and a line for each disagreement.
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace {

using nlohmann::json;

struct Pair {
  std::string client;
  std::string provider;
  friend auto operator<=>(const Pair&, const Pair&) = default;
};

struct Answer {
  std::optional<std::string> route;  // of pci_p2pdma_map_type
  std::optional<int> distance;       // of pci_p2pdma_distance_many
  bool may_not = false;              // which says -1 for pairs that may not, whatever the distance
};

class Comparison {
 public:
  explicit Comparison(bool iommu_translates) : may_lose_bus_addresses_(iommu_translates) {}

  void complain(std::string text) {
    ++complaints_;
    fmt::print("{}\n", text);
  }

  void read_answers(const std::string& file) {
    std::ifstream stream(file);
    if (!stream) return complain(fmt::format("{} can't be read", file));
    for (std::string line; std::getline(stream, line);) read_answer(json::parse(line));
    for (const auto& [pair, answer] : answers_)
      if (!answer.route) complain(fmt::format("the kernel did not decide about {} to {}", pair.client, pair.provider));
    if (answers_.empty()) complain("the kernel was asked nothing");
  }

  // `topology` may be empty: the verdicts are about the same addresses.
  void compare(std::string_view name, const std::string& file, const std::string& topology) {
    std::ifstream stream(file);
    if (!stream) return complain(fmt::format("{} can't be read", file));
    std::map<std::string, std::string> addresses;  // theirs, and the guest's
    if (!topology.empty()) addresses = read_topology(topology);
    const auto address = [&](const std::string& theirs) {
      const auto found = addresses.find(theirs);
      return topology.empty() ? theirs : found == addresses.end() ? "" : found->second;
    };
    std::set<Pair> seen;
    for (const json& verdict : json::parse(stream)) {
      const Pair pair{address(verdict.at("client")), address(verdict.at("provider"))};
      const auto answer = answers_.find(pair);
      if (answer == answers_.end()) continue;  // not between drives
      seen.insert(pair);
      compare(name, pair, verdict.at("linux"), answer->second);
    }
    for (const auto& [pair, answer] : answers_)
      if (!seen.contains(pair))
        complain(fmt::format("{} has no verdict on {} to {}", name, pair.client, pair.provider));
  }

  int finish() const {
    fmt::print("{} pairs ({}), {} distances, {} unknown without root, {} disagreements\n", answers_.size(), routes(),
               distances_, unknown_, complaints_);
    return complaints_ == 0 ? 0 : 1;
  }

 private:
  std::map<std::string, std::string> read_topology(const std::string& file) {
    std::map<std::string, std::string> addresses;
    std::ifstream stream(file);
    if (!stream) complain(fmt::format("{} can't be read", file));
    if (!stream) return addresses;
    const json described = json::parse(stream);
    for (const json& function : described.at("functions")) {
      if (!function.at("name").is_string()) continue;
      const auto drive = drives_.find(function.at("name").get<std::string>());
      if (drive != drives_.end()) addresses[function.at("bdf")] = drive->second;
    }
    return addresses;
  }

  void read_answer(const json& line) {
    if (line.contains("drive")) {
      drives_[line.at("drive")] = line.at("function");
      return;
    }
    const Pair pair{line.at("client"), line.at("provider")};
    if (pair.client == pair.provider) return;  // barter why --all is about different functions
    Answer& answer = answers_[pair];
    const bool is_read = line.at("by") == "read";
    const std::set<int> returned = line.at("returned");
    if (returned.size() > 1)
      complain(fmt::format("the kernel changed its mind about {} to {}", pair.client, pair.provider));
    for (const int value : returned) is_read ? take_route(answer, pair, value) : take_distance(answer, value);
    // What came of the request has to go with what was decided about it.
    const int error = line.at("error");
    if (is_read && error == 0) check_arrival(pair, answer, line.at("arrived"));
    const bool refused = is_read ? answer.route == "not_supported" : answer.may_not;
    if (refused && error == 0)
      complain(fmt::format("the kernel refused {} to {}, and did it", pair.client, pair.provider));
  }

  // QEMU sends every request through its IOMMU. Where that translates, a bus address faults there, and the drive reports
  // success all the same.
  void check_arrival(const Pair& pair, const Answer& answer, bool arrived) {
    if (arrived || (may_lose_bus_addresses_ && answer.route == "bus_address")) return;
    complain(fmt::format("a read from {} did not arrive in the memory of {}", pair.client, pair.provider));
  }

  void take_route(Answer& answer, const Pair& pair, int value) {
    switch (value) {
      case 2:
        answer.route = "not_supported";
        return;
      case 3:
        answer.route = "bus_address";
        return;
      case 4:
        answer.route = "through_host_bridge";
        return;
      default:
        complain(fmt::format("the kernel answers {} about {} to {}", value, pair.client, pair.provider));
    }
  }

  static void take_distance(Answer& answer, int value) {
    if (value < 0)
      answer.may_not = true;
    else
      answer.distance = value;
  }

  void compare(std::string_view name, const Pair& pair, const json& ours, const Answer& kernel) {
    const std::string route = ours.at("route");
    if (route == "unknown" && name.ends_with('?')) {
      ++unknown_;
      return;
    }
    if (kernel.route && route != *kernel.route)
      complain(fmt::format("{}: {} to {} is {}, and the kernel says {}", name, pair.client, pair.provider, route,
                           *kernel.route));
    if (kernel.may_not && route != "not_supported")
      complain(fmt::format("{}: {} to {} is {}, and the kernel has no distance for it", name, pair.client,
                           pair.provider, route));
    if (!kernel.distance) return;
    ++distances_;
    const json& distance = ours.at("distance");
    if (distance != *kernel.distance)
      complain(fmt::format("{}: from {} to {} it is {}, and the kernel counts {}", name, pair.client, pair.provider,
                           distance.dump(), *kernel.distance));
  }

  [[nodiscard]] std::string routes() const {
    std::map<std::string, int> counts;
    for (const auto& [pair, answer] : answers_) ++counts[answer.route.value_or("undecided")];
    std::string text;
    for (const auto& [route, count] : counts) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, route);
    return text;
  }

  std::map<Pair, Answer> answers_;
  std::map<std::string, std::string> drives_;  // by name
  bool may_lose_bus_addresses_;
  int complaints_ = 0;
  int distances_ = 0;
  int unknown_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const bool translates = argc > 1 && std::string_view(argv[1]) == "--iommu-translates";
  const int first = translates ? 2 : 1;
  if (argc < first + 2) {
    fmt::print(stderr, "usage: compare_verdicts [--iommu-translates] ANSWERS NAME=VERDICTS[,TOPOLOGY]...\n");
    return 2;
  }
  try {
    Comparison comparison(translates);
    comparison.read_answers(argv[first]);
    for (int i = first + 1; i < argc; ++i) {
      const std::string argument = argv[i];
      const std::size_t equals = argument.find('=');
      const std::size_t comma = argument.find(',', equals);
      comparison.compare(argument.substr(0, equals), argument.substr(equals + 1, comma - equals - 1),
                         comma == std::string::npos ? "" : argument.substr(comma + 1));
    }
    return comparison.finish();
  } catch (const json::exception& error) {
    fmt::print("what was compared is no such JSON: {}\n", error.what());
    return 1;
  }
}
