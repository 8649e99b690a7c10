# Warnings are errors in our own sources, on every compiler that the project supports (g++ 12 and later, clang 19 and later).
add_library(barter_flags INTERFACE)
target_compile_options(barter_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual
  -Wimplicit-fallthrough -Wundef -Werror
  # Leaving fields out of a designated initialiser, so that they get their defaults, is how options are passed here.
  -Wno-missing-field-initializers)
if(BARTER_SANITIZE)
  add_compile_options(-fsanitize=${BARTER_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${BARTER_SANITIZE})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  # g++ 12 reports these in its own <string> and <vector> at -O2, with no fault in the program (GCC bugs 105329, 105651).
  target_compile_options(barter_flags INTERFACE -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ at -O2 reports the unused half of std::optional and std::variant (GCC bug 80635). clang, valgrind and the sanitizers
  # find the real ones.
  target_compile_options(barter_flags INTERFACE -Wno-maybe-uninitialized)
endif()
