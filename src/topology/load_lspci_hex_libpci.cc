#include "topology/load_lspci_hex_libpci.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

extern "C" {
#include <pci/pci.h>
}

#include "pci/config_space.h"

namespace barter::topology {
namespace {

// libpci reports errors through a function that must not return, and whose default ends the process. Ours jumps back to
// init() below. Nothing with a destructor lives in the frames that are jumped over: they are libpci's, which is C, and
// init()'s own. What libpci had allocated for the moment is lost: it has no other way either.
struct Landing {
  std::jmp_buf place;
  std::array<char, 256> message{};
};
thread_local Landing* landing = nullptr;

// The attribute in GNU's spelling is a part of the function's type, as libpci's pointer wants it.
__attribute__((noreturn)) void on_error(char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(landing->message.data(), landing->message.size(), format, arguments);
  va_end(arguments);
  std::longjmp(landing->place, 1);
}

void say_nothing(char*, ...) {}

bool init(pci_access* access, Landing& here) {
  landing = &here;
  if (setjmp(here.place) != 0) return false;
  pci_init(access);
  return true;
}

// The checked text under a name that libpci can open, and that nobody else can change.
class TextFile {
 public:
  explicit TextFile(std::string_view text) : descriptor_(memfd_create("dump", MFD_CLOEXEC)) {
    while (descriptor_ >= 0 && !text.empty()) {
      const ssize_t written = write(descriptor_, text.data(), text.size());
      if (written <= 0) break;
      text.remove_prefix(static_cast<std::size_t>(written));
    }
    is_complete_ = descriptor_ >= 0 && text.empty();
  }
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  ~TextFile() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  [[nodiscard]] bool is_complete() const { return is_complete_; }
  [[nodiscard]] std::string name() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

 private:
  int descriptor_;
  bool is_complete_ = false;
};

// libpci tells no length, but it reads either all bytes of a block or none.
pci::ConfigSpace read_known(pci_dev* device) {
  std::array<std::uint8_t, pci::ConfigSpace::kExtendedBytes> bytes{};
  std::size_t known = 0;
  for (std::size_t step = bytes.size(); step != 0; step /= 2) {
    const std::size_t attempt = known + step;
    if (attempt <= bytes.size() && pci_read_block(device, 0, bytes.data(), static_cast<int>(attempt)) != 0)
      known = attempt;
  }
  return pci::ConfigSpace(std::span(bytes).first(known));
}

Error failure(std::string_view source, std::string why) {
  return {.code = ErrorCode::io_failed,
          .doing = "reading the hex dump",
          .subject = std::string(source),
          .where = {},
          .why = std::move(why),
          .cure = {}};
}

}  // namespace

Result<std::vector<pci::DumpedFunction>> read_dump_with_libpci(std::string_view checked_text, std::string_view source) {
  const TextFile file(checked_text);
  if (!file.is_complete()) return fail(failure(source, "there is no memory for a copy of it"));

  const std::unique_ptr<pci_access, void (*)(pci_access*)> access(pci_alloc(), pci_cleanup);
  access->method = PCI_ACCESS_DUMP;
  access->error = on_error;
  access->warning = say_nothing;
  access->debug = say_nothing;
  std::string parameter = "dump.name";
  std::string name = file.name();
  if (pci_set_param(access.get(), parameter.data(), name.data()) != 0)
    return fail(failure(source, "this libpci can't read dumps: it has no parameter dump.name"));
  Landing here;
  if (!init(access.get(), here)) return fail(failure(source, fmt::format("libpci says: {}", here.message.data())));

  std::vector<pci::DumpedFunction> functions;
  for (pci_dev* device = access->devices; device != nullptr; device = device->next) {
    const Bdf bdf{static_cast<std::uint32_t>(device->domain), device->bus, device->dev, device->func};
    functions.push_back({bdf, read_known(device)});
  }
  std::reverse(functions.begin(), functions.end());  // libpci's list has the last one first
  return functions;
}

}  // namespace barter::topology
