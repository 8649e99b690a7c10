// random_machine SEED: a machine description made by chance, such as QEMU can be given (docs/guest.md): root complexes, root
// ports with any ACS bits, switches up to three deep, devices with several functions, drives with controller memory, any of
// the CPUs that Linux's rule tells apart, with and without an IOMMU. The same seed gives the same machine.
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/random.h"

namespace {

using barter::base::Random;

constexpr std::size_t kMostDrives = 8;  // 56 ordered pairs; a device with several functions may go beyond
constexpr int kDeepestSwitch = 3;

class Maker {
 public:
  explicit Maker(std::uint64_t seed) : random_(seed), seed_(seed) {}

  std::string make() {
    write_machine();
    most_drives_ = 2 + random_.below(kMostDrives - 1);
    const std::uint64_t roots = random_.chance(0.35) ? 2 + random_.below(2) : 1;
    for (std::uint64_t i = 0; i < roots; ++i) write_root_complex(i);
    // A pair needs two.
    while (drives_ < 2) write_root_port("rc0");
    return text_;
  }

 private:
  template <class... Arguments>
  void add(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Arguments>(arguments)...);
  }

  void write_machine() {
    struct Cpu {
      std::string_view vendor;
      int family;
    };
    constexpr std::array kCpus = {Cpu{"AuthenticAMD", 15}, Cpu{"AuthenticAMD", 22}, Cpu{"AuthenticAMD", 23},
                                  Cpu{"AuthenticAMD", 25}, Cpu{"AuthenticAMD", 26}, Cpu{"GenuineIntel", 6},
                                  Cpu{"HygonGenuine", 24}};
    constexpr std::array<std::string_view, 4> kIommu = {"off", "off", "passthrough", "translate"};
    const Cpu& cpu = kCpus[random_.below(kCpus.size())];
    add("name = \"seed-{}\"\niommu = \"{}\"\n\n[cpu]\nvendor = \"{}\"\nfamily = {}\n", seed_,
        kIommu[random_.below(kIommu.size())], cpu.vendor, cpu.family);
  }

  void write_root_complex(std::uint64_t index) {
    const std::string name = fmt::format("rc{}", index);
    add("\n[[root_complex]]\nname = \"{}\"\nroot_bus = {}\n", name, index * 0x40);
    for (std::uint64_t ports = 1 + random_.below(3); ports > 0; --ports) write_root_port(name);
    // QEMU has integrated drives on the board's own bus only.
    if (index == 0 && random_.chance(0.25)) write_drive(name, 0);
  }

  void write_root_port(const std::string& root) {
    const std::string name = fmt::format("rp{}", ports_++);
    add("\n[[root_port]]\nname = \"{}\"\nbelow = \"{}\"\n{}", name, root, acs());
    write_below(name, 0);
  }

  // No ACS, ACS without a bit, or any of the bits that QEMU's root ports have.
  std::string acs() {
    if (random_.chance(0.25)) return "";
    std::string bits;
    if (!random_.chance(0.3))
      for (const std::string_view bit : {"SV", "TB", "RR", "CR", "UF", "DT"})
        if (random_.chance(0.35)) bits += fmt::format("{}\"{}\"", bits.empty() ? "" : ", ", bit);
    return fmt::format("acs = [{}]\n", bits);
  }

  void write_below(const std::string& port, int depth) {
    if (drives_ >= most_drives_ || random_.chance(0.1)) return;
    if (depth < kDeepestSwitch && random_.chance(0.45)) return write_switch(port, depth + 1);
    const std::uint64_t functions = random_.chance(0.25) ? 2 + random_.below(2) : 1;
    for (std::uint64_t i = 0; i < functions; ++i) write_drive(port, i);
  }

  void write_switch(const std::string& port, int depth) {
    const std::string name = fmt::format("sw{}", switches_++);
    const std::uint64_t ports = 1 + random_.below(3);
    add("\n[[switch]]\nname = \"{}\"\nbelow = \"{}\"\nports = {}\n", name, port, ports);
    for (std::uint64_t i = 0; i < ports; ++i) write_below(fmt::format("{}.{}", name, i), depth);
  }

  void write_drive(const std::string& below, std::uint64_t function) {
    constexpr std::array kMemoryMib = {2, 4, 8, 16};
    add("\n[[drive]]\nname = \"nvme{}\"\nbelow = \"{}\"\n", drives_++, below);
    if (function != 0) add("function = {}\n", function);
    add("size = \"1 MiB\"\ncmb = \"{} MiB\"\nmax_queues = 2\n", kMemoryMib[random_.below(kMemoryMib.size())]);
  }

  Random random_;
  std::uint64_t seed_;
  std::string text_;
  std::size_t drives_ = 0;
  std::size_t most_drives_ = 0;
  std::size_t ports_ = 0;
  std::size_t switches_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 0;
  const std::string_view written = argc == 2 ? argv[1] : "";
  const auto [end, error] = std::from_chars(written.data(), written.data() + written.size(), seed);
  if (error != std::errc{} || end != written.data() + written.size() || written.empty()) {
    fmt::print(stderr, "usage: random_machine SEED\n");
    return 2;
  }
  fmt::print("{}", Maker(seed).make());
}
