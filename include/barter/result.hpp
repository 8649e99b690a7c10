// Results and errors.
//
// Every operation that can fail for a reason outside the program returns Result<T>: the value, or an Error that can be
// printed as it is. No exception crosses the edge of the library.
//
//   auto machine = barter::Machine::open("two-nvme");
//   if (!machine) return barter::print(machine.error());
//
// An error names what was being done, to what, why it failed and what cures it. Its code is for programs; its words are
// for people and may change. Errors are values: copy them, keep them, send them to another thread.
#pragma once
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace barter {

enum class ErrorCode : std::uint8_t {
  invalid_argument,  // the caller asked for something that makes no sense
  not_found,         // no such file, machine, drive or function
  malformed,         // bytes from outside do not follow their format
  unsupported,       // understood, but this machine or this version can't do it
  out_of_range,      // past the end of a namespace, a region or a BAR
  exhausted,         // a limit or a memory is used up for now; later it may work
  refused,           // the owner of the memory said no
  no_route,          // no direct route between the two devices, or none that is known to work
  pinned,            // an importer was promised that the memory doesn't move
  revoked,           // the mapping or region was taken back; its handle is stale
  timed_out,         // no answer by the deadline
  device_failed,     // the device reported an error, or lied
  device_gone,       // the device is no longer there
  io_failed,         // the operating system reported an error
  cancelled,         // given up on request
};

// The code's name as it is written above, for programs: "no_route".
[[nodiscard]] std::string_view name_of(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::invalid_argument;
  std::string doing;    // what was being done: "reading the machine description"
  std::string subject;  // to what: "rack.toml", "0000:03:00.0"
  std::string where;    // the place in it, when there is one: "line 12", "offset 0x40"
  std::string why;      // why it failed: "two ports are called sw0.1"
  std::string cure;     // what to do about it; may be empty

  // One sentence: "reading the machine description rack.toml, line 12: two ports are called sw0.1; rename one of them".
  [[nodiscard]] std::string message() const;
};

template <class T>
using Result = std::expected<T, Error>;

// Shorthand for returning an error from a function that returns a Result.
[[nodiscard]] inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }

// Writes "error: " and the message to standard error. Returns 2, the exit status of the barter command for errors.
int print(const Error& error);

}  // namespace barter
