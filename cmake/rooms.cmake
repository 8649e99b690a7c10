# barter_room(NAME [DEPENDS target...] [PRIVATE_DEPENDS target...])
# A room is a folder of src/ and one static library barter_NAME of all its .cc files. The *_test.cc files beside them
# become one test program, NAME_test, with one ctest entry for each test.
function(barter_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  set(folder ${CMAKE_CURRENT_SOURCE_DIR}/src/${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "(_test|/main)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(NOT sources)
    return()
  endif()
  add_library(barter_${name} STATIC ${sources})
  target_include_directories(barter_${name} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/src>)
  target_compile_features(barter_${name} PUBLIC cxx_std_23)
  target_link_libraries(barter_${name} PUBLIC ${ROOM_DEPENDS} PRIVATE ${ROOM_PRIVATE_DEPENDS} $<BUILD_INTERFACE:barter_flags>)
  set_property(GLOBAL APPEND PROPERTY BARTER_ROOMS barter_${name})
  if(BARTER_TESTS AND tests)
    barter_test(${name}_test SOURCES ${tests} DEPENDS barter_${name})
  endif()
endfunction()

# barter_test(NAME SOURCES file... DEPENDS target... [TOGETHER filter] [TIMEOUT_S seconds] [LABELS label...]): one GoogleTest
# program. Each of its tests is one of ctest's, in a process of its own; those of the filter, which share what is costly to
# make, are one of ctest's in one process.
function(barter_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT_S;TOGETHER" "SOURCES;DEPENDS;LABELS" ${ARGN})
  if(NOT TEST_TIMEOUT_S)
    set(TEST_TIMEOUT_S 300)
  endif()
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE ${TEST_DEPENDS} GTest::gtest GTest::gmock GTest::gtest_main ${RAPIDCHECK} barter_flags)
  # What is tested is optimised; the tests themselves compile in half the time when they are less so.
  target_compile_options(${name} PRIVATE -O1)
  # Only those that read files of the checkout are told where it is: the objects of all others are the same in every
  # checkout, and ccache finds them again.
  foreach(source ${TEST_SOURCES})
    file(STRINGS ${source} mentions REGEX BARTER_SOURCE_DIR LIMIT_COUNT 1)
    if(mentions)
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_DEFINITIONS BARTER_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    endif()
  endforeach()
  include(GoogleTest)
  set(alone)
  if(TEST_TOGETHER)
    set(alone TEST_FILTER "-${TEST_TOGETHER}")
    add_test(NAME ${name}.together COMMAND ${name} --gtest_filter=${TEST_TOGETHER})
    set_tests_properties(${name}.together PROPERTIES TIMEOUT ${TEST_TIMEOUT_S} LABELS "${TEST_LABELS}")
  endif()
  gtest_discover_tests(${name} ${alone} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT ${TEST_TIMEOUT_S} LABELS "${TEST_LABELS}")
endfunction()
