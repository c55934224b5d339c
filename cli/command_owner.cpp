// What the owner of an installation does: nodes, API keys, the webhook.
#include <fmt/core.h>

#include "cli/command.hpp"
#include "cli/json.hpp"

namespace dlls::cli {
using base::result;

namespace {

// --- nodes

result<int> enroll(const settings& all, const std::string& name, int minutes) {
  auto client = connect(all);
  if (!client) return client.error();
  const json::object body{{"name", name}, {"ttl_s", minutes * 60}};
  auto made = parsed(client->post("/v1/enrolments", json::serialize(body)));
  if (!made) return made.error();
  // The token alone on standard output, so that it can be piped into `dlls node --join`.
  fmt::print("{}\n", text_of(*made, "token"));
  fmt::print(
      stderr,
      "Token for node '{}', good once, for {} minutes. On the node:\n"
      "    dlls node --name {} --join THIS_HOST:{}      and paste it there\n",
      name, minutes, name, all.link_port);
  return 0;
}

void add_enroll(program& to) {
  auto name = std::make_shared<std::string>("home");
  auto minutes = std::make_shared<int>(15);
  auto* command = add_command(
      to, "enroll", "make a single-use token with which a node joins (prints it)",
      [=](const settings& all) { return enroll(all, *name, *minutes); });
  command->add_option("name", *name, "of the node: a-z, 0-9 and - (default: home)");
  command->add_option("--minutes", *minutes, "how long it is good (default 15)")
      ->check(CLI::Range(1, 1440));
}

void add_nodes(program& to) {
  auto* nodes = add_command(
      to, "nodes", "list the nodes and whether they are linked", [](const settings& all) {
        return print_list(
            all, "/v1/nodes", "no nodes: `dlls enroll` makes a token for one", [](const auto& n) {
              fmt::print(
                  "{:<20} {:<8} {} model(s), {} job(s)\n", text_of(n, "id"),
                  flag_of(n, "connected") ? "linked" : "away", list_of(n, "models").size(),
                  number_of(n, "jobs_running"));
            });
      });
  auto name = std::make_shared<std::string>();
  add_subcommand(
      to, *nodes, "revoke", "shut a node out; its link closes at once",
      [=](const settings& all) { return end_one(all, "/v1/nodes/" + *name, "revoked"); })
      ->add_option("name", *name, "of the node")
      ->required();
}

// --- keys

result<int> add_key(const settings& all, const std::string& name) {
  auto client = connect(all);
  if (!client) return client.error();
  auto made = parsed(client->post("/v1/keys", json::serialize(json::object{{"name", name}})));
  if (!made) return made.error();
  fmt::print("{}\n", text_of(*made, "secret"));
  fmt::print(
      stderr, "API key '{}' ({}), shown this once: only its hash is stored\n", name,
      text_of(*made, "id"));
  return 0;
}

void add_keys(program& to) {
  auto* keys = add_command(to, "keys", "list the API keys", [](const settings& all) {
    return print_list(all, "/v1/keys", "no keys", [](const auto& k) {
      fmt::print(
          "{:<32} {:<8} {}\n", text_of(k, "id"),
          k.as_object().at("revoked_at").is_null() ? "opens" : "revoked", text_of(k, "name"));
    });
  });
  auto name = std::make_shared<std::string>();
  auto id = std::make_shared<std::string>();
  add_subcommand(
      to, *keys, "add", "make one more (prints it, once)",
      [=](const settings& all) { return add_key(all, *name); })
      ->add_option("name", *name, "to know it by in the list")
      ->required();
  add_subcommand(
      to, *keys, "revoke", "end one; not the last",
      [=](const settings& all) { return end_one(all, "/v1/keys/" + *id, "revoked"); })
      ->add_option("id", *id, "as `dlls keys` shows it")
      ->required();
}

// --- webhook

void add_webhook(program& to) {
  auto url = std::make_shared<std::string>();
  auto allow_private = std::make_shared<bool>(false);
  auto* command = add_command(
      to, "webhook",
      "register the URL that is told of each job's end (prints the signing secret once)",
      [=](const settings& all) -> result<int> {
        auto client = connect(all);
        if (!client) return client.error();
        const json::object body{{"url", *url}, {"allow_private", *allow_private}};
        auto made = parsed(client->put("/v1/webhook", json::serialize(body)));
        if (!made) return made.error();
        fmt::print("{}\n", text_of(*made, "secret"));
        return 0;
      });
  command->add_option("url", *url, "https://...")->required();
  command->add_flag(
      "--allow-private", *allow_private, "allow plain http and addresses of this machine or LAN");
}

}  // namespace

void add_owner(program& to) {
  add_enroll(to);
  add_nodes(to);
  add_keys(to);
  add_webhook(to);
}

}  // namespace dlls::cli
