# Fails when one of OBJECTS defines a weak symbol: an inline function or template instance, of which
# the linker keeps any one copy, perhaps this one with instructions that the machine lacks.
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} -C --defined-only "${object}" OUTPUT_VARIABLE symbols
    COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* [WVu] [^\n]*" shared "${symbols}")
  if(shared)
    list(JOIN shared "\n  " text)
    message(FATAL_ERROR "${object} shares code:\n  ${text}")
  endif()
endforeach()
