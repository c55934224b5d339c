# cmake --install BUILD --component runtime --prefix X: what find_package(dlls) finds; docs/embedding.md.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/dlls")

set(installed dlls_base dlls_runtime dlls_link)
foreach(target IN LISTS installed)
  target_compile_features(${target} INTERFACE cxx_std_20)
  target_include_directories(${target} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
install(TARGETS ${installed} EXPORT dlls_runtime_targets COMPONENT runtime
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT dlls_runtime_targets NAMESPACE dlls:: COMPONENT runtime FILE dlls_runtime_targets.cmake
  DESTINATION "${package_folder}")

# Public headers, and what of detail/ their templates need. Mapped files stay here: they take SIGBUS.
file(GLOB_RECURSE headers RELATIVE "${PROJECT_SOURCE_DIR}" CONFIGURE_DEPENDS
  "${PROJECT_SOURCE_DIR}/base/*.hpp" "${PROJECT_SOURCE_DIR}/runtime/*.hpp")
list(FILTER headers EXCLUDE REGEX "^runtime/link/detail/|^base/mapped_file")
list(APPEND headers runtime/link/detail/dialed.hpp)
install(CODE "
  set(headers \"${headers}\")
  set(from \"${PROJECT_SOURCE_DIR}\")
  set(to \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_INCLUDEDIR}/dlls\")
  include(\"${PROJECT_SOURCE_DIR}/cmake/install_headers.cmake\")" COMPONENT runtime)

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/dllsConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/package/dllsConfig.cmake" INSTALL_DESTINATION "${package_folder}")
# Before 1.0 a new minor version may break what was.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/dllsConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/package/dllsConfig.cmake"
  "${PROJECT_BINARY_DIR}/package/dllsConfigVersion.cmake" "${PROJECT_SOURCE_DIR}/cmake/FindCAF.cmake"
  DESTINATION "${package_folder}" COMPONENT runtime)
