// qemu_arguments MACHINE.toml FOLDER: what QEMU and the guest's kernel are to be told, for tests/guest/frame/boot to read.
// One thing on each line, after a word that says what it is:
//
//   qemu ARGUMENT          an argument of qemu-system-x86_64, as it is
//   kernel WORD            a word of the kernel's command line
//   image BYTES PATH       a file that has to be there before QEMU starts; 0 bytes: it has to be there already
//   cpu VENDOR             as CPUID spells it; no line: the description doesn't say
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "qemu_machine.h"

namespace {

using namespace barter;

Result<std::string> read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  if (!stream || stream.bad())
    return fail({.code = ErrorCode::io_failed,
                 .doing = "reading the machine description",
                 .subject = path,
                 .why = "it cannot be opened"});
  return text;
}

Result<void> run(const std::string& path, const std::string& folder) {
  const auto text = read_file(path);
  if (!text) return fail(text.error());
  const auto description = topology::parse_description(*text, path);
  if (!description) return fail(description.error());
  const auto machine = guest::qemu_machine(*description, folder);
  if (!machine) return fail(machine.error());
  for (const std::string& argument : machine->arguments) fmt::print("qemu {}\n", argument);
  for (const std::string& word : machine->kernel) fmt::print("kernel {}\n", word);
  for (const auto& image : machine->images) fmt::print("image {} {}\n", image.size_bytes, image.path);
  if (description->cpu) fmt::print("cpu {}\n", description->cpu->vendor);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: qemu_arguments MACHINE.toml FOLDER\n");
    return 2;
  }
  const auto done = run(argv[1], argv[2]);
  return done ? 0 : print(done.error());
}
