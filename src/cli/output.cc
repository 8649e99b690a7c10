#include "cli/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include <fmt/format.h>

namespace barter::cli {

void put(std::string_view text) { fmt::print("{}", text); }

void keep_standard_streams() {
  // In this order, open() takes just the number that is free. A folder can't be written: no byte goes astray.
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(stream, F_GETFD) == -1) (void)open("/", O_RDONLY | O_DIRECTORY);
}

bool output_failed() { return std::ferror(stdout) != 0; }

int finish_output(int status) {
  if (output_failed()) return 2;  // whoever wrote that has been told
  if (std::fflush(stdout) == 0) return status;
  std::perror("error: writing to standard output");
  return 2;
}

}  // namespace barter::cli
