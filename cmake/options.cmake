# What holds for every target: the language, the warnings, the sanitizers.
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(DLLS_COMPONENTS all CACHE STRING "what to build: all, or runtime alone (coroutines and link)")
set_property(CACHE DLLS_COMPONENTS PROPERTY STRINGS all runtime)
if(DLLS_COMPONENTS STREQUAL "all")
  set(DLLS_ROOMS base runtime kernels model ledger gateway actors cli)
elseif(DLLS_COMPONENTS STREQUAL "runtime")
  set(DLLS_ROOMS base runtime)
else()
  message(FATAL_ERROR "DLLS_COMPONENTS is '${DLLS_COMPONENTS}'; it takes all or runtime")
endif()
# Who builds the runtime alone need not have what the tests need.
string(COMPARE EQUAL "${DLLS_COMPONENTS}" all tests_by_default)
option(DLLS_TESTS "build the tests" ${tests_by_default})
option(DLLS_BENCHMARKS "build the benchmarks" OFF)
option(DLLS_WERROR "warnings are errors" ON)
set(DLLS_CUDA AUTO CACHE STRING "build the CUDA module: AUTO (when a compiler is found), ON, OFF")
set(DLLS_SANITIZE "" CACHE STRING "sanitizers, as for -fsanitize: address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

find_program(DLLS_CCACHE ccache)
if(DLLS_CCACHE)
  # base_dir and no hash_dir: two build folders of one checkout share their objects.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${DLLS_CCACHE})
endif()

add_library(dlls_options INTERFACE)
target_compile_options(dlls_options INTERFACE -Wall -Wextra -Wpedantic -Wno-missing-field-initializers
  $<$<BOOL:${DLLS_WERROR}>:-Werror>)
target_include_directories(dlls_options INTERFACE "${CMAKE_SOURCE_DIR}")
target_compile_definitions(dlls_options INTERFACE DLLS_VERSION="${PROJECT_VERSION}")
if(DLLS_SANITIZE)
  target_compile_options(dlls_options INTERFACE -fsanitize=${DLLS_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all -g1)
  target_link_options(dlls_options INTERFACE -fsanitize=${DLLS_SANITIZE})
endif()
find_package(Threads REQUIRED)
# fmt stands in for std::format, which GCC 12 lacks.
find_package(fmt REQUIRED)
target_link_libraries(dlls_options INTERFACE fmt::fmt Threads::Threads)
