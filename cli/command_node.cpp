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
  options.model_bytes_max = std::uint64_t{all.models_mib} << 20;
  options.cache_bytes = std::uint64_t{all.cache_mib} << 20;
  options.cache_type = all.cache_type;
  options.draft = all.draft;
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

// An empty folder is no error, since a job may make the first model; but it is rarely meant.
void tell_when_empty(const settings& all) {
  for (const auto& item : std::filesystem::directory_iterator(all.models))
    if (item.path().extension() == ".gguf") return;
  fmt::print(
      stderr, "no model yet: put a GGUF file into {} and start again\n", all.models.string());
}

struct join_flags {
  std::string where, token_file = "-";
  bool again = false;
};

result<int> run_node(const settings& all, const join_flags& join) {
  auto options = options_from(all);
  auto at = split_address(join.where.empty() ? all.coordinator : join.where, 7443);
  if (!at) return at.error();
  std::tie(options.coordinator_host, options.coordinator_port) = *at;
  if (join.again || (!join.where.empty() && !actors::has_joined(options))) {
    auto token = read_token(join.token_file);
    if (!token) return token.error();
    if (auto joined = actors::join(options, *token); !joined) return joined.error();
    fmt::print(
        "joined {}:{} as '{}'\n", options.coordinator_host, options.coordinator_port, options.name);
  }
  block_signals();  // not before: the prompt and a slow join are to be interrupted
  auto running = actors::home::start(options);
  if (!running) return running.error();
  fmt::print(
      "node '{}' works for {}:{}\n", options.name, options.coordinator_host,
      options.coordinator_port);
  std::fflush(stdout);
  tell_when_empty(all);
  wait_for_signal();
  fmt::print("stopping\n");
  return 0;
}

// Coordinator and node of one process, joined over loopback by the same link as anywhere.
result<int> run_up(settings all, bool make_key) {
  block_signals();
  all.link_address = "127.0.0.1";
  auto serving = start_serving(all, true, make_key);
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

// Models in memory, and what answers of them need.
struct memory_flags {
  unsigned models_mib = 0, cache_mib = 0;
  std::string cache_type, draft;

  void apply(settings& all) const {
    if (models_mib) all.models_mib = models_mib;
    if (cache_mib) all.cache_mib = cache_mib;
    if (!cache_type.empty()) all.cache_type = cache_type;
    if (!draft.empty()) all.draft = draft;
  }
};

void add_memory_options(CLI::App& command, memory_flags& into) {
  command.add_option(
      "--models-mib", into.models_mib,
      "memory for loaded models (default: three quarters of the machine's)");
  command.add_option(
      "--cache-mib", into.cache_mib,
      "memory for the answers that run on one model, and for prefixes (default 1024)");
  command.add_option(
      "--cache-type", into.cache_type,
      "of its numbers: f16, or q8_0 in half the memory (default f16)");
  command.add_option(
      "--draft", into.draft,
      "a small model that guesses for larger ones of its vocabulary (default: none)");
}

}  // namespace

void add_node(program& to) {
  struct flags {
    join_flags join;
    memory_flags memory;
    std::string name, state, models, http, link;
    bool make_key = false;
    unsigned threads = 0;
  };
  auto given = std::make_shared<flags>();
  const auto apply = [given](settings& all) {
    if (!given->name.empty()) all.node_name = given->name;
    if (!given->state.empty()) all.node_state = given->state;
    if (!given->models.empty()) all.models = given->models;
    if (given->threads) all.threads = given->threads;
    given->memory.apply(all);
  };
  auto* node = add_command(
      to, "node", "run the home side: dials out to the coordinator, trains and answers",
      [given, apply](const settings& loaded) -> result<int> {
        auto all = loaded;
        apply(all);
        return run_node(all, given->join);
      });
  node->add_option(
      "--join", given->join.where,
      "HOST:PORT of the coordinator; at the first start, reads the token of `dlls enroll`");
  node->add_flag(
      "--rejoin", given->join.again,
      "read a token although this node has joined: another coordinator, or a revoked certificate");
  node->add_option(
      "--token-file", given->join.token_file,
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
        if (!given->link.empty()) {
          auto at = split_address(given->link, all.link_port);
          if (!at) return at.error();
          all.link_port = at->second;
        }
        return run_up(std::move(all), given->make_key);
      });
  up->add_option("--http", given->http, "where clients connect (default 127.0.0.1:8080)");
  up->add_option(
      "--link", given->link, "port on which coordinator and node meet (default 127.0.0.1:7443)");
  up->add_flag("--make-key", given->make_key, "make one more API key: for when yours is lost");
  for (auto* command : {node, up}) {
    command->add_option("--name", given->name, "of this node (default: home)");
    command->add_option("--models", given->models, "folder of GGUF files (default <home>/models)")
        ->check(CLI::ExistingDirectory);
    command->add_option("--threads", given->threads, "for computing (default: one a core)");
    add_memory_options(*command, given->memory);
  }
  node->add_option("--state", given->state, "folder of the spool (default <home>/node)");
}

}  // namespace dlls::cli
