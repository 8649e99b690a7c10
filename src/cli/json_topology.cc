#include "cli/json_topology.h"

#include <iterator>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/selection.h"

namespace barter::cli {
namespace {

using Json = nlohmann::ordered_json;

// Text from a dump may be no UTF-8: what is not is replaced.
std::string dump(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace); }

Json json_of(const std::vector<Fact>& facts) {
  Json array = Json::array();
  for (const Fact& fact : facts)
    array.push_back({{"function", fact.function}, {"register", fact.reg}, {"value", fact.value}, {"says", fact.says}});
  return array;
}

Json json_of(const std::vector<Remedy>& remedies) {
  Json array = Json::array();
  for (const Remedy& remedy : remedies)
    array.push_back({{"command", remedy.command}, {"effect", remedy.effect}, {"cost", remedy.cost}});
  return array;
}

Json json_of(const WireAnswer& answer) { return {{"route", name_of(answer.route)}, {"facts", json_of(answer.facts)}}; }

Json json_of(const std::vector<InterconnectAnswer>& answers) {
  Json array = Json::array();
  for (const InterconnectAnswer& answer : answers)
    array.push_back({{"name", answer.name}, {"route", name_of(answer.route)}, {"facts", json_of(answer.facts)}});
  return array;
}

Json json_of(const RouteChoice& choice) {
  return {{"by", choice.by.empty() ? Json() : Json(choice.by)}, {"route", name_of(choice.route)}, {"why", choice.why}};
}

Json json_of(const Verdict& verdict, const Beside& beside) {
  Json path = Json::array();
  for (const Bdf bdf : verdict.path) path.push_back(bdf.to_string());
  return {{"client", verdict.client.to_string()},
          {"provider", verdict.provider.to_string()},
          {"linux",
           {{"route", name_of(verdict.by_linux.route)},
            {"distance", verdict.by_linux.distance ? Json(*verdict.by_linux.distance) : Json()},
            {"facts", json_of(verdict.by_linux.facts)},
            {"remedies", json_of(verdict.by_linux.remedies)}}},
          {"wire", {{"read", json_of(verdict.by_wire.read)}, {"write", json_of(verdict.by_wire.write)}}},
          {"path", path},
          {"interconnects", json_of(beside.interconnects)},
          {"best", json_of(beside.best)}};
}

// An object whose unknown facts are null, with the reasons beside them: {"numa_node": null, "unknown": {"numa_node":
// "..."}}.
class Facts {
 public:
  template <class T, class Convert>
  void add(const char* key, const Known<T>& fact, Convert convert) {
    if (fact) {
      object_[key] = convert(*fact);
    } else {
      object_[key] = nullptr;
      unknown_[key] = fact.why_unknown();
    }
  }
  template <class T>
  void add(const char* key, const Known<T>& fact) {
    add(key, fact, [](const T& value) { return Json(value); });
  }
  void add(const char* key, Json value) { object_[key] = std::move(value); }
  Json take() {
    if (!unknown_.empty()) object_["unknown"] = std::move(unknown_);
    return std::move(object_);
  }

 private:
  Json object_ = Json::object();
  Json unknown_ = Json::object();
};

Json hex(std::uint64_t value, int digits) { return fmt::format("{:0{}x}", value, digits); }

Json json_of(const LinkState& link) { return {{"speed_mtps", link.speed_mtps}, {"width", link.width}}; }

Json json_of(const BarInfo& bar) {
  Facts facts;
  facts.add("index", bar.index);
  facts.add("kind", bar.kind == BarInfo::Kind::memory ? "memory" : "io");
  facts.add("is_64bit", bar.is_64bit);
  facts.add("is_prefetchable", bar.is_prefetchable);
  facts.add("address", bar.address, [](BusAddress address) { return Json(fmt::format("{:#x}", address.value)); });
  facts.add("size_bytes", bar.size_bytes);
  return facts.take();
}

Json json_of(const AcsInfo& acs) {
  Facts facts;
  facts.add("capability", hex(acs.capability, 4));
  facts.add("control", hex(acs.control, 4));
  facts.add("offset", acs.offset == 0 ? Json() : Json(acs.offset));
  facts.add("egress_control_vector", acs.egress_control_vector);
  return facts.take();
}

Json json_of(const ControllerMemoryInfo& memory) {
  return {{"bar", memory.bar},
          {"offset_bytes", memory.offset_bytes},
          {"size_bytes", memory.size_bytes},
          {"submission_queues", memory.submission_queues},
          {"completion_queues", memory.completion_queues},
          {"lists", memory.lists},
          {"read_data", memory.read_data},
          {"write_data", memory.write_data}};
}

template <class T>
Json json_or_null(const std::optional<T>& value) {
  if constexpr (requires(const T& some) { json_of(some); })
    return value ? json_of(*value) : Json();
  else
    return value ? Json(*value) : Json();
}

Json json_of(const Topology& topology, const FunctionInfo& function) {
  Facts facts;
  facts.add("bdf", function.bdf.to_string());
  facts.add("name", function.name.empty() ? Json() : Json(function.name));
  const auto parent = topology.parent(function.bdf);
  facts.add("parent", parent ? Json(parent->to_string()) : Json());
  facts.add("endpoint", is_endpoint(function));
  facts.add("vendor_id", function.vendor_id, [](std::uint16_t id) { return hex(id, 4); });
  facts.add("device_id", function.device_id, [](std::uint16_t id) { return hex(id, 4); });
  facts.add("class_code", function.class_code, [](std::uint32_t code) { return hex(code, 6); });
  facts.add("vendor_name", function.vendor_name);
  facts.add("device_name", function.device_name);
  facts.add("port_type", function.port_type, [](PortType type) { return Json(name_of(type)); });
  facts.add("buses", function.bridge ? Json{{"secondary", function.bridge->secondary},
                                            {"subordinate", function.bridge->subordinate}}
                                     : Json());
  facts.add("physical_function", function.physical_function ? Json(function.physical_function->to_string()) : Json());
  Json bars = Json::array();
  for (const BarInfo& bar : function.bars) bars.push_back(json_of(bar));
  facts.add("bars", function.bars_read ? bars : Json());
  const auto link = [](const LinkState& state) { return json_of(state); };
  facts.add("link_now", function.link_now, link);
  facts.add("link_max", function.link_max, link);
  facts.add("max_payload_bytes", function.max_payload_bytes);
  facts.add("max_payload_supported_bytes", function.max_payload_supported_bytes);
  facts.add("max_read_request_bytes", function.max_read_request_bytes);
  facts.add("relaxed_ordering", function.relaxed_ordering);
  facts.add("ats_enabled", function.ats_enabled);
  facts.add("acs", function.acs, [](const auto& acs) { return json_or_null(acs); });
  facts.add("numa_node", function.numa_node);
  facts.add("iommu_group", function.iommu_group, [](const auto& group) { return json_or_null(group); });
  facts.add("controller_memory", function.controller_memory, [](const auto& memory) { return json_or_null(memory); });
  return facts.take();
}

Json json_of(const DeviceLinkInfo& link) {
  const auto end = [](const DeviceLinkInfo::End& of) {
    return Json{{"function", of.function.to_string()}, {"port", of.port}};
  };
  return {{"first", end(link.first)},
          {"second", end(link.second)},
          {"megabytes_per_second", link.megabytes_per_second == 0 ? Json() : Json(link.megabytes_per_second)}};
}

Json json_of(const HostBridgeInfo& host) {
  Facts facts;
  facts.add("domain", host.domain);
  facts.add("root_bus", host.root_bus);
  facts.add("numa_node", host.numa_node);
  facts.add("turns_reads", host.turns_reads);
  facts.add("turns_writes", host.turns_writes);
  return facts.take();
}

// The routes of all pairs that `barter why --all` tells of, without facts: the elements of an array, as dump() would write them.
// What is in quotes needs no escapes: addresses and the names of routes.
void write_routes(const Topology& topology, const Sink& sink) {
  const VerdictMatrix matrix = topology.verdicts();
  const FunctionInfo* first = topology.functions().data();
  const auto functions = endpoints(topology);
  const char* before = "\n";
  std::string row;  // of one client
  for (const FunctionInfo* client : functions) {
    row.clear();
    const std::string client_bdf = client->bdf.to_string();
    for (const FunctionInfo* provider : functions) {
      if (client == provider || !may_be_provider(*provider)) continue;
      const PairRoutes routes = matrix.routes(
          {.client = static_cast<std::size_t>(client - first), .provider = static_cast<std::size_t>(provider - first)});
      fmt::format_to(std::back_inserter(row),
                     "{}    {{\n      \"client\": \"{}\",\n      \"provider\": \"{}\",\n      \"linux\": \"{}\",\n"
                     "      \"wire_read\": \"{}\",\n      \"wire_write\": \"{}\"\n    }}",
                     before, client_bdf, provider->bdf.to_string(), name_of(routes.by_linux()),
                     name_of(routes.by_wire_read()), name_of(routes.by_wire_write()));
      before = ",\n";
    }
    sink(row);
  }
  if (before[0] == ',') sink("\n  ");
}

}  // namespace

std::string verdict_json(const Verdict& verdict, const Beside& beside, int indent) {
  std::string text = dump(json_of(verdict, beside));
  if (indent == 0) return text;
  const std::string spaces(static_cast<std::size_t>(indent), ' ');
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1))
    text.insert(at + 1, spaces);
  return text;
}

void write_topology_json(std::string_view machine, const Topology& topology, const Sink& sink) {
  Facts facts;
  facts.add("machine", std::string(machine));
  facts.add("source", topology.source());
  facts.add("cpu", topology.cpu(),
            [](const CpuInfo& cpu) { return Json{{"vendor", cpu.vendor}, {"family", cpu.family}}; });
  facts.add("iommu", topology.iommu(), [](IommuMode mode) { return Json(name_of(mode)); });
  facts.add("is_virtual_machine", topology.is_virtual_machine());
  Json hosts = Json::array();
  for (const HostBridgeInfo& host : topology.host_bridges()) hosts.push_back(json_of(host));
  facts.add("host_bridges", std::move(hosts));
  Json links = Json::array();
  for (const DeviceLinkInfo& link : topology.device_links()) links.push_back(json_of(link));
  facts.add("device_links", std::move(links));
  Json functions = Json::array();
  for (const FunctionInfo& function : topology.functions()) functions.push_back(json_of(topology, function));
  facts.add("functions", std::move(functions));
  facts.add("verdicts", Json::array());
  const std::string text = dump(facts.take());
  // No other key stands at this depth, and no text of a source has a line break in it: dump() writes it as \n.
  constexpr std::string_view kVerdicts = "\n  \"verdicts\": [";
  const std::size_t inside = text.find(kVerdicts) + kVerdicts.size();
  sink(std::string_view(text).substr(0, inside));
  write_routes(topology, sink);
  sink(std::string_view(text).substr(inside));
  sink("\n");
}

}  // namespace barter::cli
