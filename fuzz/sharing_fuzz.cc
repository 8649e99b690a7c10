// A message of another process: bytes in, a message or an error out. What is taken keeps its limits, can be written again, and is then
// taken as the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <type_traits>
#include <variant>

#include "linux/sharing/message.h"

namespace sharing = barter::linux_os::sharing;

namespace {

void expect(bool is_so) {
  if (!is_so) std::abort();
}

bool is_choice(barter::Hold hold) { return hold == barter::Hold::dynamic || hold == barter::Hold::pinned; }

// What the code behind the messages goes by without looking.
template <class T>
void check(const T& body) {
  if constexpr (std::is_base_of_v<sharing::Map, T> || std::is_base_of_v<sharing::Ask, T>) expect(is_choice(body.hold));
  if constexpr (std::is_base_of_v<sharing::Map, T>) expect(body.importer.size() <= sharing::kMaxTextBytes);
  if constexpr (std::is_same_v<T, sharing::TakenBack>) expect(body.late.size() <= sharing::kMaxLateImporters);
  if constexpr (std::is_same_v<T, sharing::Poke> || std::is_same_v<T, sharing::Contents>)
    expect(body.bytes.size() <= sharing::kMaxContentBytes);
  if constexpr (std::is_same_v<T, sharing::MappedInParts>) {
    expect(body.parts.size() <= sharing::kMaxPartsInAnswer);
    for (const auto& part : body.parts) expect(part.reason.size() <= sharing::kMaxTextBytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto first = sharing::decode(std::as_bytes(std::span(data, size)));
  if (!first) return 0;
  std::visit([](const auto& body) { check(body); }, first->body);
  const auto written = sharing::encode(*first);
  expect(written.size() <= sharing::kMaxMessageBytes);
  const auto second = sharing::decode(written);
  expect(second && second->body.index() == first->body.index() && sharing::encode(*second) == written);
  return 0;
}
