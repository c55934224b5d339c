// From the ledger's records to the gateway's values, one by one and as whole replies.
#pragma once
#include "gateway/backend.hpp"
#include "ledger/ledger.hpp"

namespace dlls::actors {

gateway::job_info to_gateway(const ledger::job& job);
gateway::file_info to_gateway(const ledger::file& file);
gateway::job_event to_gateway(const ledger::event& event);
gateway::key_info to_gateway(const ledger::api_key& key);

// "dlls-" and 256 random bits; only its hash is stored.
std::string new_api_key();

// A reply of the ledger that answers one of the gateway in its own terms; errors pass through.
template <class Record, class Info>
ledger::reply<Record> in_terms_of(gateway::reply<Info> done) {
  return [done = std::move(done)](base::result<Record> got) {
    if (!got) return done(got.error());
    done(to_gateway(*got));
  };
}
template <class Record, class Info>
ledger::reply<ledger::page<Record>> page_in_terms_of(gateway::reply<gateway::page<Info>> done) {
  return [done = std::move(done)](base::result<ledger::page<Record>> got) {
    if (!got) return done(got.error());
    gateway::page<Info> page;
    page.has_more = got->has_more;
    for (const auto& one : got->items) page.items.push_back(to_gateway(one));
    done(std::move(page));
  };
}

inline std::int64_t to_seconds(std::int64_t ms) { return ms / 1000; }
std::optional<std::int64_t> to_seconds(std::optional<std::int64_t> ms);

}  // namespace dlls::actors
