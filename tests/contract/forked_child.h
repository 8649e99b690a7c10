// What a child of fork() still has of its parent's memory.
#pragma once
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace barter::contract {

// Is anything mapped there, in a child? mincore(2) tells without a touch.
inline bool is_mapped_in_child(std::span<std::byte> memory) {
  const pid_t child = fork();
  if (child == 0) {
    std::array<unsigned char, 1> pages;
    std::byte* const page = memory.data() - reinterpret_cast<std::uintptr_t>(memory.data()) % 4096;
    _exit(mincore(page, 1, pages.data()) == -1 && errno == ENOMEM ? 0 : 1);
  }
  int status = 0;
  return child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

}  // namespace barter::contract
