// Asks whether one function's DMA reaches another's memory, and why not: `ask acs nvme0 nvme1`.
#include <iostream>
#include <string>
#include <vector>

#include <barter/barter.hpp>

namespace {

void print(const std::string& rule, barter::Route route, const std::vector<barter::Fact>& facts) {
  std::cout << rule << ": " << name_of(route) << '\n';
  for (const barter::Fact& fact : facts) {
    std::cout << "  " << fact.function << ": " << fact.reg << " = " << fact.value << ": " << fact.says << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: ask MACHINE CLIENT PROVIDER\n";
    return 2;
  }
  auto machine = barter::Machine::open(argv[1]);
  if (!machine) return barter::print(machine.error());
  const barter::Topology& topology = machine->topology();
  auto client = topology.resolve(argv[2]);
  if (!client) return barter::print(client.error());
  auto provider = topology.resolve(argv[3]);
  if (!provider) return barter::print(provider.error());

  const barter::Verdict verdict = topology.verdict({.client = *client, .provider = *provider});
  print("linux", verdict.by_linux.route, verdict.by_linux.facts);
  print("wire, reads", verdict.by_wire.read.route, verdict.by_wire.read.facts);
  print("wire, writes", verdict.by_wire.write.route, verdict.by_wire.write.facts);
  for (const barter::Remedy& remedy : verdict.by_linux.remedies) {
    std::cout << "remedy: " << remedy.command << "\n  " << remedy.effect << "; it costs: " << remedy.cost << '\n';
  }
}
