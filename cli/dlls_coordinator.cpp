// The program for the small cloud box: no model code in it.
#include "cli/command.hpp"

int main(int argc, char** argv) {
  dlls::cli::program program{
      "DLLS coordinator: the OpenAI-compatible endpoint that GPU nodes at home dial in to.",
      "dlls-coordinator"};
  dlls::cli::add_coordinator(program);
  dlls::cli::add_client(program);
  dlls::cli::add_owner(program);
  dlls::cli::add_jobs(program);
  dlls::cli::add_inspect(program);
  return dlls::cli::run(program, argc, argv);
}
