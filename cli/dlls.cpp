// The whole program: cloud side, home side, client.
#include "cli/command.hpp"
#include "kernels/dispatch.hpp"

int main(int argc, char** argv) {
  // Here, where it is an error of usage: deep inside a model it could only end the process.
  if (const auto kernels = dlls::kernels::requested(); !kernels)
    return dlls::cli::fail(kernels.error());
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
  dlls::cli::add_inspect(program);
  dlls::cli::add_model_tools(program);
  dlls::cli::add_quantise(program);
  return dlls::cli::run(program, argc, argv);
}
