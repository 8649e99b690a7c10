// Standard output, written to its end: what can't be written there is an error of the command, not a silence.
#pragma once
#include <functional>
#include <string_view>

namespace barter::cli {

// Takes a text that is too long to be held at once, a piece at a time.
using Sink = std::function<void(std::string_view)>;

// A sink that is standard output. Throws std::system_error where it can't be written, as fmt::print does.
void put(std::string_view text);

// Where standard input, output or error is closed, the first file that is opened would take its place, and get what was meant
// for the terminal. Call it before any file is opened; writing to what was closed stays an error.
void keep_standard_streams();

// Writes out what is buffered; what fails is said on standard error. Returns the exit status: `status`, or 2 if a part of what
// was to be said is lost.
[[nodiscard]] int finish_output(int status);

// The same where `put` or fmt::print has thrown.
[[nodiscard]] bool output_failed();

}  // namespace barter::cli
