# Each header compiles alone, and twice: target barter_headers (not part of `all`) holds one generated source for each
# header of include/ and src/, so that the build system knows which ones a change concerns.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}
  ${CMAKE_CURRENT_SOURCE_DIR}/include/*.hpp ${CMAKE_CURRENT_SOURCE_DIR}/src/*.h)
set(sources)
foreach(header ${headers})
  string(REGEX REPLACE "^(include|src)/" "" path ${header})
  string(REGEX REPLACE "[/.]" "_" name ${header})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/headers/${name}.cc)
  file(CONFIGURE OUTPUT ${source} CONTENT "#include <${path}>\n#include <${path}>\n" @ONLY)
  list(APPEND sources ${source})
endforeach()
add_library(barter_headers OBJECT EXCLUDE_FROM_ALL ${sources})
target_include_directories(barter_headers PRIVATE include src)
target_link_libraries(barter_headers PRIVATE barter_flags fmt::fmt spdlog::spdlog CLI11::CLI11 nlohmann_json::nlohmann_json
  tomlplusplus::tomlplusplus PkgConfig::libpci PkgConfig::hwloc PkgConfig::xxhash PkgConfig::zlib)
target_compile_options(barter_headers PRIVATE -O0 -g0)
