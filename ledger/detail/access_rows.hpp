// API keys, nodes, join tokens and settings as rows; each function is one operation inside the
// writer's transaction. Only hashes of secrets come this far.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "ledger/detail/operation.hpp"
#include "ledger/records.hpp"

namespace dlls::ledger::detail {

base::result<api_key> add_api_key(transaction& t, const api_key& k);
base::result<api_key> find_api_key(transaction& t, const std::string& hash);
base::result<std::vector<api_key>> list_api_keys(transaction& t);
base::result<api_key> revoke_api_key(transaction& t, const std::string& id);

base::result<node> add_node(
    transaction& t, const std::string& name, const std::string& fingerprint);
base::result<std::vector<node>> list_nodes(transaction& t);
base::result<node> revoke_node(transaction& t, const std::string& name);

base::result<bool> add_token(
    transaction& t, const std::string& hash, std::int64_t expires_ms, const std::string& node);
base::result<node> redeem_token(transaction& t, const redemption& r);

base::result<std::optional<std::string>> get_setting(transaction& t, const std::string& key);
base::result<bool> set_setting(transaction& t, const std::string& key, const std::string& value);

}  // namespace dlls::ledger::detail
