// dlls node, dlls up: the home side, and both in one process.
#include <fmt/core.h>
#include <unistd.h>

#include <iostream>

#include "actors/home.hpp"
#include "base/file.hpp"
#include "cli/command.hpp"
#include "cli/serving.hpp"

namespace dlls::cli {
using base::errc;
using base::error;
using base::result;

namespace {

actors::home_options options_from(const settings& all) {
  actors::home_options options;
  options.state = all.node_state;
  options.models = all.models;
  options.name = all.node_name;
  options.threads = all.threads;
  return options;
}

// The token from a file that nobody else may read, or from standard input: never from the command
// line, which every user of the machine can see.
result<std::string> read_token(const std::string& file) {
  if (file != "-") {
    std::error_code failed;
    const auto mode = std::filesystem::status(file, failed).permissions();
    using std::filesystem::perms;
    if (!failed && (mode & (perms::group_all | perms::others_all)) != perms::none)
      return error{
          errc::permission_denied, fmt::format("others may read {}", file),
          fmt::format("chmod 600 {}", file)};
    return base::read_file(file, 4096);
  }
  if (isatty(STDIN_FILENO)) fmt::print(stderr, "token: ");
  std::string line;
  std::getline(std::cin, line);
  if (line.empty())
    return error{
        errc::invalid_argument, "no token on standard input",
        "run `dlls enroll` on the coordinator for one"};
  return line;
}

result<int> run_node(
    const settings& all, const std::string& join_url, const std::string& token_file) {
  auto options = options_from(all);
  auto at = split_address(join_url.empty() ? all.coordinator : join_url, 7443);
  if (!at) return at.error();
  std::tie(options.coordinator_host, options.coordinator_port) = *at;
  block_signals();
  if (!join_url.empty() && !actors::has_joined(options)) {
    auto token = read_token(token_file);
    if (!token) return token.error();
    if (auto joined = actors::join(options, *token); !joined) return joined.error();
    fmt::print("joined {} as '{}'\n", join_url, options.name);
  }
  auto running = actors::home::start(options);
  if (!running) return running.error();
  fmt::print(
      "node '{}' works for {}:{}\n", options.name, options.coordinator_host,
      options.coordinator_port);
  std::fflush(stdout);
  wait_for_signal();
  fmt::print("stopping\n");
  return 0;
}

// Coordinator and node of one process, joined over loopback by the same link as anywhere.
result<int> run_up(settings all) {
  block_signals();
  all.link_address = "127.0.0.1";
  auto serving = start_serving(all, true);
  if (!serving) return serving.error();
  auto options = options_from(all);
  options.coordinator_host = "127.0.0.1";
  options.coordinator_port = (*serving)->cloud->link_port();
  if (!actors::has_joined(options)) {
    auto token = (*serving)->cloud->make_join_token(options.name, 60);
    if (!token) return token.error();
    if (auto joined = actors::join(options, *token); !joined) return joined.error();
  }
  auto node = actors::home::start(options);
  if (!node) return node.error();
  fmt::print("node '{}' works in this process; models: {}\n", options.name, all.models.string());
  std::fflush(stdout);
  wait_for_signal();
  fmt::print("stopping\n");
  node->reset();  // before the coordinator it speaks to
  return 0;
}

}  // namespace

void add_node(program& to) {
  struct flags {
    std::string join, token_file = "-", name, state, models, http;
    unsigned threads = 0;
  };
  auto given = std::make_shared<flags>();
  const auto apply = [given](settings& all) {
    if (!given->name.empty()) all.node_name = given->name;
    if (!given->state.empty()) all.node_state = given->state;
    if (!given->models.empty()) all.models = given->models;
    if (given->threads) all.threads = given->threads;
  };
  auto* node = add_command(
      to, "node", "run the home side: dials out to the coordinator, trains and answers",
      [given, apply](const settings& loaded) -> result<int> {
        auto all = loaded;
        apply(all);
        return run_node(all, given->join, given->token_file);
      });
  node->add_option(
      "--join", given->join,
      "HOST:PORT of the coordinator, at the first start: reads the token of `dlls enroll`");
  node->add_option(
      "--token-file", given->token_file,
      "file of mode 0600 with the token (default: standard input)");
  auto* up = add_command(
      to, "up", "run coordinator and node in one process",
      [given, apply](const settings& loaded) -> result<int> {
        auto all = loaded;
        apply(all);
        if (!given->http.empty()) {
          auto at = split_address(given->http, all.http_port);
          if (!at) return at.error();
          std::tie(all.http_address, all.http_port) = *at;
        }
        return run_up(std::move(all));
      });
  up->add_option("--http", given->http, "where clients connect (default 127.0.0.1:8080)");
  for (auto* command : {node, up}) {
    command->add_option("--name", given->name, "of this node (default: home)");
    command->add_option("--models", given->models, "folder of GGUF files (default <home>/models)");
    command->add_option("--threads", given->threads, "for computing (default: one a core)");
  }
  node->add_option("--state", given->state, "folder of the spool (default <home>/node)");
}

}  // namespace dlls::cli
