// Copies the first megabytes of one drive to another on any machine: `copy two-nvme nvme0 nvme1 64`.
#include <cstdint>
#include <cstdlib>
#include <iostream>

#include <barter/barter.hpp>

int main(int argc, char** argv) {
  const std::uint64_t mebibytes = argc == 5 ? std::strtoull(argv[4], nullptr, 10) : 0;
  if (mebibytes == 0) {
    std::cerr << "usage: copy MACHINE SOURCE DESTINATION MEBIBYTES\n";
    return 2;
  }
  // "host", a built-in machine, or a description: the rest of the program doesn't change.
  auto machine = barter::Machine::open(argv[1]);
  if (!machine) return barter::print(machine.error());
  auto source = machine->drive(argv[2]);
  if (!source) return barter::print(source.error());

  auto report = barter::copy(barter::Extent(*source, 0, mebibytes << 20), machine->drive(argv[3]),
                             {.policy = barter::P2p::preferred, .verify = true});
  if (!report) return barter::print(report.error());

  std::cout << report->bytes << " bytes by " << name_of(report->route) << ", " << report->host_memory_bytes
            << " bytes through host memory\n";
  for (const barter::Fallback& fallback : report->fallbacks) {
    std::cout << "by way of host memory: " << fallback.bytes << " bytes: " << fallback.reason << '\n';
  }
  return report->verified == true ? 0 : 1;
}
