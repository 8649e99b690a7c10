# What `cmake --install` gives: the public headers, the rooms as static libraries behind one target (barter::barter), the
# barter command, the machine descriptions and the licence. A program says find_package(barter) and links
# barter::barter; examples/copy is one, and tests/install builds it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(rooms GLOBAL PROPERTY BARTER_ROOMS)
list(REMOVE_ITEM rooms barter_cli)  # the command's own
foreach(room ${rooms})
  string(REPLACE "barter_" "" short ${room})
  set_target_properties(${room} PROPERTIES EXPORT_NAME ${short})
endforeach()

add_library(barter_all INTERFACE)
set_target_properties(barter_all PROPERTIES EXPORT_NAME barter)
target_link_libraries(barter_all INTERFACE ${rooms})
target_include_directories(barter_all INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
add_library(barter::barter ALIAS barter_all)

install(TARGETS barter_all ${rooms} EXPORT barterTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/barter)
install(EXPORT barterTargets NAMESPACE barter:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/barter)
install(DIRECTORY include/barter DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(DIRECTORY machines/ DESTINATION ${CMAKE_INSTALL_DATADIR}/barter/machines FILES_MATCHING PATTERN "*.toml")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(TARGET barter)
  install(TARGETS barter RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

configure_package_config_file(cmake/barterConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/barterConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/barter)
# Before 1.0, a new minor version may change the public headers.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/barterConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/barterConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/barterConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/barter)
