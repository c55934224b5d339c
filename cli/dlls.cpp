// The whole program: cloud side, home side, client.
#include "cli/command.hpp"

int main(int argc, char** argv) {
  dlls::cli::program program{
      "DLLS: train and serve LLaMA models on your own machine, behind an OpenAI-compatible "
      "endpoint in "
      "the cloud.",
      "dlls"};
  dlls::cli::add_node(program);
  dlls::cli::add_coordinator(program);
  dlls::cli::add_client(program);
  dlls::cli::add_owner(program);
  dlls::cli::add_jobs(program);
  dlls::cli::add_model_tools(program);
  return dlls::cli::run(program, argc, argv);
}
