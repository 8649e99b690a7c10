// A message of another process: bytes in, a message or an error out. What is taken can be written again, and is then taken as the
// same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "linux/sharing/message.h"

namespace sharing = barter::linux_os::sharing;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto first = sharing::decode(std::as_bytes(std::span(data, size)));
  if (!first) return 0;
  const auto written = sharing::encode(*first);
  if (written.size() > sharing::kMaxMessageBytes) std::abort();
  const auto second = sharing::decode(written);
  if (!second || second->body.index() != first->body.index() || sharing::encode(*second) != written) std::abort();
  return 0;
}
