# Copies `headers` from the folder `from` into `to`. Among themselves they say "runtime/task.hpp";
# installed they say "dlls/runtime/task.hpp", so that no folder named base/ or runtime/ of whoever
# includes them can come in between. A header that has not changed keeps its time.
foreach(header IN LISTS headers)
  file(READ "${from}/${header}" text)
  string(REGEX REPLACE "#include \"(base|runtime)/" "#include \"dlls/\\1/" text "${text}")
  set(old)
  if(EXISTS "${to}/${header}")
    file(READ "${to}/${header}" old)
  endif()
  if(NOT text STREQUAL old)
    message(STATUS "Installing: ${to}/${header}")
    file(WRITE "${to}/${header}" "${text}")
  endif()
  list(APPEND CMAKE_INSTALL_MANIFEST_FILES "${to}/${header}")
endforeach()
