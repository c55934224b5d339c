# dlls_library(NAME SOURCES ... [DEPENDS ...] [PRIVATE ...]): a static library, alias dlls::NAME.
function(dlls_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS;PRIVATE" ${ARGN})
  add_library(dlls_${name} STATIC ${arg_SOURCES})
  add_library(dlls::${name} ALIAS dlls_${name})
  set_target_properties(dlls_${name} PROPERTIES EXPORT_NAME ${name})
  # Our warnings and definitions are nobody else's: an installed target knows nothing of them.
  target_link_libraries(dlls_${name} PUBLIC $<BUILD_INTERFACE:dlls_options> fmt::fmt Threads::Threads
    ${arg_DEPENDS} PRIVATE ${arg_PRIVATE})
endfunction()

# dlls_test(NAME SECONDS n SOURCES ... DEPENDS ... [SANITIZE kinds...] [ARGS ...]): one Catch2 program
# and one CTest entry. SECONDS is its time budget (a failure when passed, 8x under a sanitizer).
# SANITIZE names the sanitizer builds that need this program: asan, tsan.
function(dlls_test name)
  cmake_parse_arguments(arg "" "SECONDS" "SOURCES;DEPENDS;SANITIZE;ARGS" ${ARGN})
  add_executable(test_${name} ${arg_SOURCES})
  target_link_libraries(test_${name} PRIVATE dlls_options dlls_test_main ${arg_DEPENDS})
  target_precompile_headers(test_${name} REUSE_FROM dlls_test_main)
  add_test(NAME ${name} COMMAND test_${name} --durations no --rng-seed time ${arg_ARGS})
  set(budget ${arg_SECONDS})
  if(DLLS_SANITIZE)
    math(EXPR budget "${budget} * 8")
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${budget} LABELS "${arg_SANITIZE}")
  foreach(kind IN LISTS arg_SANITIZE)
    if(NOT TARGET ${kind}_tests)
      add_custom_target(${kind}_tests)
    endif()
    add_dependencies(${kind}_tests test_${name})
  endforeach()
endfunction()

# dlls_benchmark(NAME SOURCES ... DEPENDS ...): one program, one question, not part of the tests.
function(dlls_benchmark name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(bench_${name} ${arg_SOURCES})
  target_link_libraries(bench_${name} PRIVATE dlls_options ${arg_DEPENDS})
endfunction()
