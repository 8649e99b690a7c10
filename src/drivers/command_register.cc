#include "drivers/command_register.h"

#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "pci/config_header.h"

namespace barter::drivers {

Result<void> turn_on(pci::Function& function) {
  auto command = function.read_config(pci::Command::kOffset, 2);
  if (!command) return fail(std::move(command.error()));
  const auto now = pci::Command::from(static_cast<std::uint16_t>(*command));
  const auto wanted = now.with(pci::Command::memory_space, true).with(pci::Command::bus_master, true);
  if (now == wanted) return {};
  return function.write_config(pci::Command::kOffset, 2, wanted.raw);
}

Result<void> take_bus_mastering(pci::Function& function) {
  auto command = function.read_config(pci::Command::kOffset, 2);
  if (!command) return fail(std::move(command.error()));
  // A function that is gone reads as all ones, and makes no requests.
  if (*command == 0xffff) return {};
  const auto now = pci::Command::from(static_cast<std::uint16_t>(*command));
  if (auto done = function.write_config(pci::Command::kOffset, 2, now.with(pci::Command::bus_master, false).raw); !done)
    return done;
  // Reading it back waits until the write has arrived, and says whether it was taken.
  auto after = function.read_config(pci::Command::kOffset, 2);
  if (!after) return fail(std::move(after.error()));
  if (*after != 0xffff && pci::Command::from(static_cast<std::uint16_t>(*after)).get(pci::Command::bus_master))
    return fail({.code = ErrorCode::device_failed,
                 .doing = "taking bus mastering from",
                 .subject = function.bdf().to_string(),
                 .why = fmt::format("its Command register still reads {:#06x}", *after),
                 .cure = "reset the device"});
  return {};
}

bool is_there(pci::Function& function) {
  const auto command = function.read_config(pci::Command::kOffset, 2);
  // A function that is gone reads as all ones.
  return command && *command != 0xffff &&
         pci::Command::from(static_cast<std::uint16_t>(*command)).get(pci::Command::memory_space);
}

}  // namespace barter::drivers
