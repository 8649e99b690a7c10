# Puts machines/*.toml into the program: writes builtin_machines_data.cc into the build folder and adds it to the
# topology room.
# The texts are raw string literals, cut into pieces because compilers only promise 65536 characters for one.
file(GLOB machine_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/machines/*.toml)
set(machine_data ${PROJECT_BINARY_DIR}/generated/builtin_machines_data.cc)
set(entries "")
foreach(file ${machine_files})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  string(LENGTH "${text}" length)
  set(pieces "")
  set(start 0)
  while(start LESS length)
    string(SUBSTRING "${text}" ${start} 8192 piece)
    string(APPEND pieces "R\"__toml__(${piece})__toml__\"\n")
    math(EXPR start "${start} + 8192")
  endwhile()
  string(APPEND entries "    {\"${name}\", ${pieces}},\n")
endforeach()
file(CONFIGURE OUTPUT ${machine_data} @ONLY CONTENT [[// Generated from machines/*.toml by cmake/embed_machines.cmake.
#include "topology/builtin_machines.h"

namespace barter::topology {
namespace {

constexpr BuiltinMachine kMachines[] = {
@entries@};

}  // namespace

std::span<const BuiltinMachine> builtin_machines() { return kMachines; }

}  // namespace barter::topology
]])
target_sources(barter_topology PRIVATE ${machine_data})
