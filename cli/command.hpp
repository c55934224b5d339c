// What every subcommand shares: one file a subcommand group, each adds itself to the program.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/error.hpp"
#include "cli/json.hpp"
#include "cli/settings.hpp"
#include "gateway/client.hpp"

namespace dlls::cli {

// Exit codes, stable for scripts (also in --help): 0 done; 1 failed; 2 wrong usage or input; 3 not
// there or not in that state; 4 not allowed; 5 the other side is away or too slow; 6 no space or
// too much at once; 7 the job itself failed; 130 interrupted.
int exit_code(base::errc code) noexcept;

struct program {
  CLI::App app;
  std::string config_file;
  std::function<base::result<int>(const settings&)> chosen;  // set by the subcommand's callback

  explicit program(const std::string& description, const std::string& name)
      : app(description, name) {}
};

// A subcommand whose body runs after the settings are known. Gives the CLI11 app to add options to.
CLI::App* add_command(
    program& to, const std::string& name, const std::string& help,
    std::function<base::result<int>(const settings&)> body);

// One level deeper, as `jobs list`. A command that has both a body and subcommands runs its body
// when none of them is given.
CLI::App* add_subcommand(
    program& to, CLI::App& group, const std::string& name, const std::string& help,
    std::function<base::result<int>(const settings&)> body);

// Parses, loads the settings, runs what was chosen; prints errors with their way out.
int run(program& what, int argc, char** argv);

// Prints the error with its way out; the exit code.
int fail(const base::error& why);

// A client with the key of DLLS_API_KEY or the key file; unauthenticated, with a hint, without one.
base::result<gateway::client> connect(const settings& from);

// Asks for a list and prints one row an item; the text, on standard error, when there is none.
base::result<int> print_list(
    const settings& from, const std::string& path, const std::string& when_empty,
    const std::function<void(const json::value&)>& row);
// DELETEs one thing and says what became of it.
base::result<int> end_one(
    const settings& from, const std::string& path, const std::string& what_became);

// Blocks until SIGINT or SIGTERM. Call block_signals first, before any thread starts.
void block_signals();
int wait_for_signal();

void add_coordinator(program& to);  // coordinator
void add_node(program& to);         // node, up
void add_client(program& to);       // chat, submit, models
void add_owner(program& to);        // enroll, nodes, keys, webhook
void add_jobs(program& to);         // jobs list|show|watch, fetch, cancel, release
void add_inspect(program& to);      // inspect
void add_model_tools(program& to);  // tokenize, eval
void add_quantise(program& to);     // quantize

}  // namespace dlls::cli
