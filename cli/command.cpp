#include "cli/command.hpp"

#include <fmt/core.h>

#include <csignal>
#include <cstdlib>

#include "base/file.hpp"
#include "cli/json.hpp"

namespace dlls::cli {
using base::errc;
using base::error;
using base::result;

int exit_code(errc code) noexcept {
  switch (code) {
    case errc::ok:
      return 0;
    case errc::invalid_argument:
    case errc::unsupported:
    case errc::too_long:
    case errc::version_mismatch:
      return 2;
    case errc::not_found:
    case errc::already_exists:
    case errc::failed_precondition:
    case errc::stale:
      return 3;
    case errc::permission_denied:
    case errc::unauthenticated:
      return 4;
    case errc::unavailable:
    case errc::deadline_exceeded:
      return 5;
    case errc::resource_exhausted:
    case errc::storage_full:
      return 6;
    case errc::cancelled:
      return 130;
    case errc::corrupt:
    case errc::io:
    case errc::internal:
      return 1;
  }
  return 1;
}

CLI::App* add_command(
    program& to, const std::string& name, const std::string& help,
    std::function<result<int>(const settings&)> body) {
  return add_subcommand(to, to.app, name, help, std::move(body));
}

CLI::App* add_subcommand(
    program& to, CLI::App& group, const std::string& name, const std::string& help,
    std::function<result<int>(const settings&)> body) {
  auto* command = group.add_subcommand(name, help);
  // CLI11 calls the callbacks of a subcommand and then those of the command above it.
  command->callback([&to, command, body = std::move(body)] {
    if (command->get_subcommands().empty()) to.chosen = body;
  });
  return command;
}

int run(program& what, int argc, char** argv) {
  auto& app = what.app;
  app.add_option(
      "--config", what.config_file,
      "settings in TOML (default: $DLLS_CONFIG, else <home>/dlls.toml when it exists)");
  app.set_version_flag("--version", std::string{"dlls "} + DLLS_VERSION);
  app.require_subcommand(1);
  app.footer(
      "\nExit codes: 0 done, 1 failed, 2 wrong usage or input, 3 not there or not in that state,\n"
      "4 not allowed, 5 the other side is away, 6 no space or too much at once, 7 the job failed.\n"
      "Files live in $DLLS_HOME, default ~/.local/share/dlls. Log: "
      "DLLS_LOG=debug|info|warning|error|off.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e);
    return code == 0 ? 0 : 2;
  }
  auto loaded = load_settings(what.config_file);
  auto done = loaded ? what.chosen(*loaded) : result<int>{loaded.error()};
  return done ? *done : fail(done.error());
}

int fail(const error& why) {
  fmt::print(
      stderr, "dlls: {}\n", why.message.empty() ? std::string{base::name(why.code)} : why.message);
  if (!why.hint.empty()) fmt::print(stderr, "      {}\n", why.hint);
  return exit_code(why.code);
}

result<gateway::client> connect(const settings& from) {
  gateway::client_options options;
  options.base_url = from.url;
  if (const char* key = std::getenv("DLLS_API_KEY"); key && *key) {
    options.key = key;
  } else if (auto text = base::read_file(from.key_file, 4096)) {
    options.key = text->substr(0, text->find_last_not_of(" \r\n") + 1);
  } else {
    return error{
        errc::unauthenticated, "no API key",
        fmt::format(
            "set DLLS_API_KEY, or put the key into {}; if it is lost, start the coordinator once "
            "with --make-key",
            from.key_file.string())};
  }
  return gateway::client{options};
}

result<int> print_list(
    const settings& from, const std::string& path, const std::string& when_empty,
    const std::function<void(const json::value&)>& row) {
  auto client = connect(from);
  if (!client) return client.error();
  auto found = parsed(client->get(path));
  if (!found) return found.error();
  const auto items = list_of(*found, "data");
  if (items.empty()) fmt::print(stderr, "{}\n", when_empty);
  for (const auto& item : items) row(item);
  return 0;
}

result<int> end_one(const settings& from, const std::string& path, const std::string& what_became) {
  auto client = connect(from);
  if (!client) return client.error();
  auto ended = parsed(client->del(path));
  if (!ended) return ended.error();
  fmt::print("{} {}\n", text_of(*ended, "id"), what_became);
  return 0;
}

namespace {
sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}
}  // namespace

void block_signals() {
  const auto set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file at the process's size limit is an error of that write
}

int wait_for_signal() {
  const auto set = ending_signals();
  int which = 0;
  sigwait(&set, &which);
  return which;
}

}  // namespace dlls::cli
