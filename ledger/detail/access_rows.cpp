#include "ledger/detail/access_rows.hpp"

#include <fmt/format.h>

#include "base/log.hpp"
#include "base/random.hpp"

namespace dlls::ledger::detail {

using base::errc;
using base::error;
using base::result;

namespace {

#define DLLS_KEY_COLUMNS "id, hash, name, owner, created_ms, expires_ms, revoked_ms"
#define DLLS_NODE_COLUMNS "name, fingerprint, created_ms, revoked_ms"

api_key key_of(const statement& s) {
  api_key k;
  k.id = s.text(0);
  k.hash = s.text(1);
  k.name = s.text(2);
  k.owner = s.text(3);
  k.created_ms = s.integer(4);
  k.expires_ms = s.optional_integer(5);
  k.revoked_ms = s.optional_integer(6);
  return k;
}

node node_of(const statement& s) {
  node n;
  n.name = s.text(0);
  n.fingerprint = s.text(1);
  n.created_ms = s.integer(2);
  n.revoked_ms = s.optional_integer(3);
  return n;
}

std::optional<node> read_node(transaction& t, const std::string& name) {
  auto s = t.db.query("SELECT " DLLS_NODE_COLUMNS " FROM nodes WHERE name = ?", name);
  if (!s.step()) return std::nullopt;
  return node_of(s);
}

node write_node(transaction& t, const std::string& name, const std::string& fingerprint) {
  t.db.run(
      "INSERT INTO nodes (name, fingerprint, created_ms) VALUES (?, ?, ?)"
      " ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint,"
      " created_ms = excluded.created_ms, revoked_ms = NULL",
      name, fingerprint, t.now_ms);
  node n;
  n.name = name;
  n.fingerprint = fingerprint;
  n.created_ms = t.now_ms;
  return n;
}

error name_taken(const std::string& name) {
  return {
      errc::already_exists, fmt::format("a node named '{}' has joined already", name),
      "choose another name, or make a token for this one: it replaces the old certificate"};
}

error bad_token(std::string_view why) {
  return {
      errc::unauthenticated, fmt::format("the join token {}", why),
      "run `dlls enroll` on the coordinator for a new one"};
}

}  // namespace

// API keys --------------------------------------------------------------------------------------

result<api_key> add_api_key(transaction& t, const api_key& k) {
  auto key = k;
  if (key.id.empty()) key.id = base::random_id("key_");
  key.created_ms = t.now_ms;
  key.revoked_ms.reset();
  const auto written = t.db.run(
      "INSERT INTO api_keys (id, hash, name, owner, created_ms, expires_ms)"
      " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
      key.id, key.hash, key.name, key.owner, key.created_ms, key.expires_ms);
  if (written != 1) return error{errc::already_exists, "this API key exists"};
  return key;
}

result<api_key> find_api_key(transaction& t, const std::string& hash) {
  auto s = t.db.query("SELECT " DLLS_KEY_COLUMNS " FROM api_keys WHERE hash = ?", hash);
  if (!s.step()) return error{errc::unauthenticated, "unknown API key"};
  auto key = key_of(s);
  if (key.revoked_ms) return error{errc::unauthenticated, "this API key was revoked"};
  if (key.expires_ms && *key.expires_ms <= t.now_ms)
    return error{errc::unauthenticated, "this API key has expired"};
  return key;
}

result<std::vector<api_key>> list_api_keys(transaction& t) {
  std::vector<api_key> keys;
  auto s = t.db.query("SELECT " DLLS_KEY_COLUMNS " FROM api_keys ORDER BY created_ms, id");
  while (s.step()) keys.push_back(key_of(s));
  return keys;
}

result<api_key> revoke_api_key(transaction& t, const std::string& id) {
  const auto others = t.db.query(
                              "SELECT 1 FROM api_keys WHERE id <> ? AND revoked_ms IS NULL"
                              " AND coalesce(expires_ms > ?, 1)",
                              id, t.now_ms)
                          .step();
  const auto known = t.db.query("SELECT 1 FROM api_keys WHERE id = ?", id).step();
  if (known && !others)
    return error{
        errc::failed_precondition, "this is the last API key that opens",
        "make another first: `dlls keys add NAME`"};
  t.db.run("UPDATE api_keys SET revoked_ms = coalesce(revoked_ms, ?) WHERE id = ?", t.now_ms, id);
  auto s = t.db.query("SELECT " DLLS_KEY_COLUMNS " FROM api_keys WHERE id = ?", id);
  if (!s.step()) return error{errc::not_found, fmt::format("no API key '{}'", id)};
  return key_of(s);
}

// Nodes -----------------------------------------------------------------------------------------

result<node> add_node(transaction& t, const std::string& name, const std::string& fingerprint) {
  const auto known = read_node(t, name);
  if (known && !known->revoked_ms) {
    if (known->fingerprint == fingerprint) return *known;
    return name_taken(name);
  }
  return write_node(t, name, fingerprint);
}

result<std::vector<node>> list_nodes(transaction& t) {
  std::vector<node> nodes;
  auto s = t.db.query("SELECT " DLLS_NODE_COLUMNS " FROM nodes ORDER BY name");
  while (s.step()) nodes.push_back(node_of(s));
  return nodes;
}

result<node> revoke_node(transaction& t, const std::string& name) {
  t.db.run("UPDATE nodes SET revoked_ms = coalesce(revoked_ms, ?) WHERE name = ?", t.now_ms, name);
  auto known = read_node(t, name);
  if (!known) return error{errc::not_found, fmt::format("no node '{}'", name)};
  return *known;
}

// Tokens ----------------------------------------------------------------------------------------

result<bool> add_token(
    transaction& t, const std::string& hash, std::int64_t expires_ms, const std::string& node) {
  const auto written = t.db.run(
      "INSERT INTO tokens (hash, node, created_ms, expires_ms) VALUES (?, ?, ?, ?)"
      " ON CONFLICT DO NOTHING",
      hash, node, t.now_ms, expires_ms);
  if (written != 1) return error{errc::already_exists, "this join token exists"};
  return true;
}

result<node> redeem_token(transaction& t, const redemption& r) {
  std::string bound_to;
  {
    auto s =
        t.db.query("SELECT node, expires_ms, used_ms FROM tokens WHERE hash = ?", r.token_hash);
    if (!s.step()) return bad_token("is unknown");
    if (!s.is_null(2)) return bad_token("was used already");
    if (s.integer(1) <= t.now_ms) return bad_token("has expired");
    bound_to = s.text(0);
  }
  if (!bound_to.empty() && bound_to != r.node) return bad_token("was made for another node");
  const auto known = read_node(t, r.node);
  if (known && !known->revoked_ms && bound_to.empty()) return name_taken(r.node);
  t.db.run(
      "UPDATE tokens SET used_ms = ?, used_by = ? WHERE hash = ? AND used_ms IS NULL", t.now_ms,
      r.node, r.token_hash);
  return write_node(t, r.node, r.fingerprint);
}

// Settings --------------------------------------------------------------------------------------

result<std::optional<std::string>> get_setting(transaction& t, const std::string& key) {
  auto s = t.db.query("SELECT value FROM settings WHERE key = ?", key);
  if (!s.step()) return std::optional<std::string>{};
  return std::optional{s.text(0)};
}

result<bool> set_setting(transaction& t, const std::string& key, const std::string& value) {
  t.db.run(
      "INSERT INTO settings (key, value) VALUES (?, ?)"
      " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
      key, value);
  return true;
}

}  // namespace dlls::ledger::detail
