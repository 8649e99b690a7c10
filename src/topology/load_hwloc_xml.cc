#include "topology/load_hwloc_xml.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "topology/load_hwloc_scan.h"

namespace barter::topology {
namespace {

constexpr std::size_t kMaxOpenTags = 256;
constexpr std::size_t kMaxObjects = 262144;
constexpr std::size_t kMaxSetWords = 256;  // 8192 processors, as many as Linux has names for

template <class Number>
std::optional<Number> whole_number(std::string_view text, int base) {
  Number value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || rest != text.data() + text.size()) return std::nullopt;
  return value;
}

// A set of processors or NUMA nodes, as lstopo writes it: "0x00000001,0xffffffff", the highest word first.
class Set {
 public:
  static std::optional<Set> parse(std::string_view text) {
    Set set;
    while (true) {
      const std::size_t comma = std::min(text.find(','), text.size());
      std::string_view word = text.substr(0, comma);
      if (word.starts_with("0x")) word.remove_prefix(2);
      const auto bits = word.empty() && comma != text.size() ? std::optional<std::uint32_t>(0)
                                                             : whole_number<std::uint32_t>(word, 16);
      if (!bits || set.words_.size() == kMaxSetWords) return std::nullopt;
      set.words_.push_back(*bits);
      if (comma == text.size()) break;
      text.remove_prefix(comma + 1);
    }
    std::reverse(set.words_.begin(), set.words_.end());
    return set;
  }
  static Set only(std::size_t index) {
    Set set;
    set.words_.resize(index / 32 + 1);
    set.words_.back() = std::uint32_t{1} << index % 32;
    return set;
  }

  [[nodiscard]] bool empty() const {
    return std::all_of(words_.begin(), words_.end(), [](std::uint32_t word) { return word == 0; });
  }
  [[nodiscard]] bool is_within(const Set& other) const {
    for (std::size_t i = 0; i < words_.size(); ++i)
      if ((words_[i] & ~other.word(i)) != 0) return false;
    return true;
  }
  [[nodiscard]] bool meets(const Set& other) const {
    for (std::size_t i = 0; i < words_.size(); ++i)
      if ((words_[i] & other.word(i)) != 0) return true;
    return false;
  }
  void add(const Set& other) {
    words_.resize(std::max(words_.size(), other.words_.size()));
    for (std::size_t i = 0; i < other.words_.size(); ++i) words_[i] |= other.words_[i];
  }
  [[nodiscard]] std::string text() const {
    std::string text;
    for (std::size_t i = words_.size(); i-- != 0;)
      text += fmt::format("{}0x{:08x}", text.empty() ? "" : ",", words_[i]);
    return text;
  }

 private:
  [[nodiscard]] std::uint32_t word(std::size_t i) const { return i < words_.size() ? words_[i] : 0; }
  std::vector<std::uint32_t> words_;
};

// Reads numbers and the marks between them off the front of a text: "0000:[2c-3b]".
class Numbers {
 public:
  explicit Numbers(std::string_view text) : text_(text) {}
  Numbers& hex(std::uint32_t& into, std::uint32_t most) {
    const auto [rest, error] = std::from_chars(text_.data(), text_.data() + text_.size(), into, 16);
    good_ = good_ && error == std::errc{} && into <= most;
    if (good_) text_.remove_prefix(static_cast<std::size_t>(rest - text_.data()));
    return *this;
  }
  Numbers& mark(std::string_view expected) {
    good_ = good_ && text_.starts_with(expected);
    if (good_) text_.remove_prefix(expected.size());
    return *this;
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool at_end() const { return good_ && text_.empty(); }

 private:
  std::string_view text_;
  bool good_ = true;
};

struct PciAttributes {
  std::uint32_t domain = 0, bus = 0, device = 0, function = 0;
  std::uint32_t class_id = 0, vendor = 0, device_id = 0, subvendor = 0, subdevice = 0, revision = 0;
  double link_gbps = 0;
};

using Tag = XmlScanner::Tag;

std::optional<PciAttributes> pci_attributes(const Tag& tag) {
  PciAttributes pci;
  Numbers address(tag.attribute("pci_busid").value_or(""));
  address.hex(pci.domain, 0xffffffff)
      .mark(":")
      .hex(pci.bus, 0xff)
      .mark(":")
      .hex(pci.device, 0x1f)
      .mark(".")
      .hex(pci.function, 7);
  Numbers type(tag.attribute("pci_type").value_or(""));
  type.hex(pci.class_id, 0xffff).mark(" [").hex(pci.vendor, 0xffff).mark(":").hex(pci.device_id, 0xffff);
  type.mark("] [").hex(pci.subvendor, 0xffff).mark(":").hex(pci.subdevice, 0xffff).mark("] ").hex(pci.revision, 0xff);
  const std::string_view speed = tag.attribute("pci_link_speed").value_or("0");
  const auto [rest, error] = std::from_chars(speed.data(), speed.data() + speed.size(), pci.link_gbps);
  if (!address.at_end() || !type.good() || error != std::errc{} || !(pci.link_gbps >= 0 && pci.link_gbps < 1e6))
    return std::nullopt;
  return pci;
}

std::string text_of(const PciAttributes& pci) {
  return fmt::format(
      " pci_busid=\"{:04x}:{:02x}:{:02x}.{:01x}\" pci_type=\"{:04x} [{:04x}:{:04x}] [{:04x}:{:04x}] {:02x}\" "
      "pci_link_speed=\"{:.6f}\"",
      pci.domain, pci.bus, pci.device, pci.function, pci.class_id, pci.vendor, pci.device_id, pci.subvendor,
      pci.subdevice, pci.revision, pci.link_gbps);
}

// hwloc 2 numbers the kinds of operating system devices: block, GPU, network, OpenFabrics, DMA, coprocessor. hwloc 3
// has a bit for each, in another order, and a device may be of several kinds.
std::optional<unsigned> device_kind(std::string_view text, bool is_version_3) {
  const auto number = whole_number<unsigned>(text, 10);
  if (!number) return std::nullopt;
  if (!is_version_3) return *number <= 5 ? number : std::nullopt;
  constexpr std::array<std::pair<unsigned, unsigned>, 7> kBits{
      {{1, 0}, {32, 3}, {16, 2}, {4, 1}, {8, 5}, {64, 4}, {2, 0}}};
  for (const auto& [bit, kind] : kBits)
    if ((*number & bit) != 0) return kind;
  return std::nullopt;
}

class Cleaner {
 public:
  Cleaner(std::string_view xml, std::string_view source) : scanner_(xml), source_(source) {}

  Result<std::string> clean() {
    while (auto tag = scanner_.next()) {
      if (tag->opens && !open(*tag)) break;
      if (tag->closes && !close(*tag)) break;
    }
    if (why_.empty()) why_ = scanner_.why();
    if (why_.empty() && !open_.empty()) why_ = fmt::format("the text ends before </{}>", open_.back().tag);
    if (why_.empty() && (!saw_topology_ || nodes_.empty())) why_ = "it has no topology with NUMA nodes";
    if (why_.empty())
      return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n" + out_;
    return fail({.code = ErrorCode::malformed,
                 .doing = "reading the hwloc topology",
                 .subject = std::string(source_),
                 .where = fmt::format("line {}", scanner_.line()),
                 .why = why_,
                 .cure = "capture it with: lstopo --whole-io FILE.xml"});
  }

 private:
  enum class Kind : std::uint8_t {
    other,    // no object: its content is of no interest
    dropped,  // an object that is left out; what is below moves up
    skipped,  // an object that is left out with all below it
    normal,
    node,
    input_output,
  };
  struct Open {
    std::string_view tag;
    Kind kind = Kind::other;
    Set processors;  // of normal objects
    Set nodes;
    Set taken;                // by children
    std::size_t bridges = 0;  // of objects of I/O: how many are above
    bool is_device = false;
  };

  bool refuse(std::string why) {
    why_ = std::move(why);
    return false;
  }

  bool open(const Tag& tag) {
    if (open_.size() == kMaxOpenTags) return refuse("tags are nested too deeply");
    open_.push_back({.tag = tag.name});
    if (open_.size() == 1) return open_topology(tag);
    const Kind outer = open_[open_.size() - 2].kind;
    if (tag.name == "object") {
      if (outer == Kind::skipped) {
        open_.back().kind = Kind::skipped;
        return true;
      }
      if (outer == Kind::other && open_.size() != 2) return refuse("an object is inside something that is none");
      return open_object(tag);
    }
    if (tag.name == "info" && outer >= Kind::normal) {
      const auto name = tag.attribute("name");
      const auto value = tag.attribute("value");
      if (name && value) out_ += fmt::format("<info name=\"{}\" value=\"{}\"/>\n", *name, *value);
    }
    return true;
  }

  bool open_topology(const Tag& tag) {
    const std::string_view version = tag.attribute("version").value_or("1");
    if (tag.name != "topology" || saw_topology_) return refuse("it is no topology of hwloc");
    if (!version.starts_with("2.") && !version.starts_with("3."))
      return refuse("it was not written by hwloc 2 or 3 (lstopo OLD.xml NEW.xml makes a new one of an old one)");
    is_version_3_ = version.starts_with("3.");
    saw_topology_ = true;
    out_ += "<topology version=\"2.0\">\n";
    return true;
  }

  // The object around the one that was opened last that is written.
  Open* above() {
    for (std::size_t i = open_.size() - 1; i-- != 0;)
      if (open_[i].kind >= Kind::normal) return &open_[i];
    return nullptr;
  }

  bool open_object(const Tag& tag) {
    const std::string_view type = tag.attribute("type").value_or("");
    if (++objects_ == kMaxObjects) return refuse(fmt::format("it has {} objects", objects_));
    Open* outer = above();
    if (type == "Machine") {
      if (outer != nullptr || saw_machine_) return refuse("there are two machines in it");
      saw_machine_ = true;
      return open_normal(tag, type, nullptr);
    }
    if (outer == nullptr) return refuse("its first object is no machine");
    if (type == "Bridge" || type == "PCIDev" || type == "OSDev") return open_input_output(tag, type, *outer);
    if (type == "Misc") {
      open_.back().kind = Kind::skipped;
      return true;
    }
    if (outer->kind != Kind::normal) return refuse(fmt::format("a {} is inside I/O or memory", type.substr(0, 32)));
    if (type == "NUMANode") return open_node(tag, *outer);
    if (type == "PU") return open_processor(tag, *outer);
    if (type == "Package" || type == "Group") return open_normal(tag, type, outer);
    open_.back().kind = Kind::dropped;
    return true;
  }

  void write_object(std::string_view type, const std::string& attributes) {
    out_ += fmt::format("<object type=\"{}\" gp_index=\"{}\"{}>\n", type, ++written_, attributes);
  }
  static std::string sets_text(const Set& processors, const Set& nodes) {
    return fmt::format(" cpuset=\"{0}\" complete_cpuset=\"{0}\" nodeset=\"{1}\" complete_nodeset=\"{1}\"",
                       processors.text(), nodes.text());
  }

  bool open_normal(const Tag& tag, std::string_view type, Open* outer) {
    Open& self = open_.back();
    auto processors = Set::parse(tag.attribute("cpuset").value_or(""));
    auto nodes = Set::parse(tag.attribute("nodeset").value_or(""));
    if (!processors || !nodes) return refuse(fmt::format("a {} has no sets of processors and NUMA nodes", type));
    if (outer == nullptr) {
      if (processors->empty() || nodes->empty()) return refuse("the machine has no processors or no NUMA nodes");
    } else if (processors->empty()) {
      self.kind = Kind::dropped;  // it can't be placed, but what is below it can
      return true;
    } else if (!take(*outer, *processors)) {
      return refuse(fmt::format("the processors of a {} are not its parent's, or another's too", type));
    } else if (nodes->empty() || !nodes->is_within(outer->nodes)) {
      nodes = outer->nodes;
    }
    self.kind = Kind::normal;
    self.processors = std::move(*processors);
    self.nodes = std::move(*nodes);
    const std::string sets = sets_text(self.processors, self.nodes);
    if (outer == nullptr)
      write_object(type, fmt::format(" os_index=\"0\"{} allowed_cpuset=\"{}\" allowed_nodeset=\"{}\"", sets,
                                     self.processors.text(), self.nodes.text()));
    else
      write_object(type, sets + (type == "Group" ? " kind=\"0\" subkind=\"0\"" : ""));
    return true;
  }

  static bool take(Open& outer, const Set& processors) {
    if (!processors.is_within(outer.processors) || processors.meets(outer.taken)) return false;
    outer.taken.add(processors);
    return true;
  }

  std::optional<std::size_t> index_of(const Tag& tag) {
    const auto index = whole_number<std::size_t>(tag.attribute("os_index").value_or(""), 10);
    return index && *index < kMaxSetWords * 32 ? index : std::nullopt;
  }

  bool open_processor(const Tag& tag, Open& outer) {
    const auto index = index_of(tag);
    const auto own = Set::parse(tag.attribute("cpuset").value_or(""));
    if (own && own->empty()) {
      open_.back().kind = Kind::skipped;  // one that may not be used
      return true;
    }
    if (!index || !processors_.insert(*index).second || !take(outer, Set::only(*index)))
      return refuse("a processor has no number, or one that is taken or not its parent's");
    open_.back().kind = Kind::normal;
    open_.back().processors = Set::only(*index);
    open_.back().nodes = outer.nodes;
    write_object("PU", fmt::format(" os_index=\"{}\"{}", *index, sets_text(Set::only(*index), outer.nodes)));
    return true;
  }

  bool open_node(const Tag& tag, const Open& outer) {
    const auto index = index_of(tag);
    if (!index || !nodes_.insert(*index).second || !Set::only(*index).is_within(outer.nodes))
      return refuse("a NUMA node has no number, or one that is taken or not its parent's");
    open_.back().kind = Kind::node;
    write_object("NUMANode", fmt::format(" os_index=\"{}\"{}", *index, sets_text(outer.processors, Set::only(*index))));
    return true;
  }

  bool open_input_output(const Tag& tag, std::string_view type, const Open& outer) {
    Open& self = open_.back();
    if (outer.kind == Kind::node) return refuse("a device is inside a NUMA node");
    self.kind = Kind::input_output;
    self.bridges = outer.kind == Kind::input_output ? outer.bridges : 0;
    if (type == "OSDev") return open_device_name(tag);
    if (outer.is_device) return refuse("a PCI function is inside one that is no bridge");
    const bool is_host_bridge = type == "Bridge" && tag.attribute("bridge_type") == "0-1";
    std::string attributes;
    std::uint32_t domain = 0;
    if (!is_host_bridge) {
      const auto pci = pci_attributes(tag);
      if (!pci) return refuse(fmt::format("a {} has no address or numbers of vendor and device", type));
      domain = pci->domain;
      attributes = text_of(*pci);
    }
    if (type == "Bridge") {
      std::uint32_t secondary = 0, subordinate = 0;
      Numbers below(tag.attribute("bridge_pci").value_or(""));
      below.hex(domain, 0xffffffff).mark(":[").hex(secondary, 0xff).mark("-").hex(subordinate, 0xff).mark("]");
      if (!below.at_end() || (!is_host_bridge && tag.attribute("bridge_type") != "1-1"))
        return refuse("a bridge does not say which buses are behind it");
      attributes += fmt::format(" bridge_type=\"{}-1\" depth=\"{}\" bridge_pci=\"{:04x}:[{:02x}-{:02x}]\"",
                                is_host_bridge ? 0 : 1, self.bridges++, domain, secondary, subordinate);
    } else {
      self.is_device = true;
    }
    if (domain > 0xffff) {
      self.kind = Kind::skipped;  // libhwloc keeps 16 bits of it
      return true;
    }
    write_object(type, attributes);
    return true;
  }

  bool open_device_name(const Tag& tag) {
    const auto name = tag.attribute("name");
    const auto kind = device_kind(tag.attribute("osdev_type").value_or(""), is_version_3_);
    if (!name || name->empty() || !kind) {
      open_.back().kind = Kind::skipped;
      return true;
    }
    open_.back().is_device = true;
    write_object("OSDev", fmt::format(" name=\"{}\" osdev_type=\"{}\"", *name, *kind));
    return true;
  }

  bool close(const Tag& tag) {
    if (open_.empty() || open_.back().tag != tag.name)
      return refuse(fmt::format("</{}> closes nothing", tag.name.substr(0, 32)));
    if (open_.back().kind >= Kind::normal) out_ += "</object>\n";
    if (open_.size() == 1) out_ += "</topology>\n";
    open_.pop_back();
    return true;
  }

  XmlScanner scanner_;
  std::string_view source_;
  std::string why_;
  std::string out_;
  std::vector<Open> open_;
  std::set<std::size_t> processors_;
  std::set<std::size_t> nodes_;
  std::size_t objects_ = 0;
  std::size_t written_ = 0;
  bool saw_topology_ = false;
  bool saw_machine_ = false;
  bool is_version_3_ = false;
};

}  // namespace

Result<std::string> clean_hwloc_xml(std::string_view xml, std::string_view source) {
  if (xml.find('\0') != std::string_view::npos)
    return fail({.code = ErrorCode::malformed,
                 .doing = "reading the hwloc topology",
                 .subject = std::string(source),
                 .where = {},
                 .why = "it is no text",
                 .cure = "capture it with: lstopo --whole-io FILE.xml"});
  return Cleaner(xml, source).clean();
}

}  // namespace barter::topology
