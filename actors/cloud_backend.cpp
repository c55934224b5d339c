// Keys, models, prompts, nodes and webhooks.
#include "actors/cloud_backend.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <boost/json.hpp>

#include "actors/cloud_records.hpp"
#include "actors/wire_json.hpp"
#include "base/log.hpp"
#include "base/sha256.hpp"
#include "gateway/webhook.hpp"
#include "runtime/link/identity.hpp"

namespace dlls::actors {
namespace json = boost::json;
using base::errc;
using base::error;
using base::result;
using namespace std::chrono_literals;

namespace {

// An actor of this process answers at once; what takes longer has its own deadline there.
constexpr auto local_answer = 30s;

generation_spec to_spec(const gateway::generate_request& request) {
  generation_spec spec;
  spec.model = request.model;
  for (const auto& one : request.messages) {
    auto& turn = spec.turns.emplace_back(one.role, one.content);
    turn.answers = one.tool_call_id;
    for (const auto& call : one.tool_calls)
      turn.calls.emplace_back(call.id, call.name, call.arguments);
  }
  if (!request.chat) spec.prompt = request.prompt;
  spec.tokens_max = request.max_tokens.value_or(0);
  spec.temperature = static_cast<float>(request.temperature);
  spec.top_p = static_cast<float>(request.top_p);
  spec.top_k = request.top_k;
  spec.min_p = static_cast<float>(request.min_p);
  spec.repetition_penalty = static_cast<float>(request.repetition_penalty);
  spec.frequency_penalty = static_cast<float>(request.frequency_penalty);
  spec.presence_penalty = static_cast<float>(request.presence_penalty);
  spec.seed = static_cast<std::uint64_t>(request.seed.value_or(0));
  spec.stop = request.stop;
  for (const auto& [token, value] : request.logit_bias)
    spec.logit_bias.push_back({static_cast<std::int32_t>(token), static_cast<float>(value)});
  spec.schema = request.schema;
  spec.offer.tools = request.tools;
  spec.offer.required = request.call_required;
  spec.offer.name = request.call_name;
  spec.offer.parallel = request.parallel_calls;
  if (request.logprobs) spec.logprobs = static_cast<std::int32_t>(request.top_logprobs);
  return spec;
}

// Cancels by telling the coordinator; the client has gone.
template <class Message>
class message_on_cancel final : public gateway::cancel_handle {
 public:
  message_on_cancel(coordinator_actor to, Message message)
      : to_(std::move(to)), message_(std::move(message)) {}
  void cancel() override { caf::anon_send(to_, message_); }

 private:
  coordinator_actor to_;
  Message message_;
};

std::vector<gateway::model_info> models_of(const node_list& all) {
  std::vector<gateway::model_info> models;
  for (const auto& node : all.nodes) {
    for (const auto& one : node.models) {
      const bool known =
          std::ranges::find(models, one.name, &gateway::model_info::id) != models.end();
      if (known && !node.connected) continue;
      std::erase_if(
          models, [&](const auto& old) { return old.id == one.name && old.node.empty(); });
      if (std::ranges::find(models, one.name, &gateway::model_info::id) != models.end()) continue;
      gateway::model_info info;
      info.id = one.name;
      info.created = one.created;
      info.context = one.context;
      if (node.connected) info.node = node.name;
      if (one.name.starts_with("ft:")) info.kind = "fine_tuned";
      models.push_back(std::move(info));
    }
  }
  return models;
}

gateway::traffic_count to_count(const link_reading& reading) {
  return {reading.bytes_out, reading.bytes_in, reading.packets_out, reading.packets_in};
}

}  // namespace

std::string webhook_setting(const std::string& owner) { return "webhook/" + owner; }

void cloud_backend::authenticate(std::string key, gateway::reply<gateway::caller> done) {
  // The hash of a random key is looked up, so no comparison tells anything about a near miss.
  services_.jobs->find_api_key(
      base::sha256_hex(key), [done = std::move(done)](result<ledger::api_key> found) {
        if (!found) return done(found.error());
        done(gateway::caller{found->owner, found->name});
      });
}

void cloud_backend::health(gateway::reply<gateway::health_info> done) {
  services_.actors->ask(
      services_.coordinator, local_answer, ask_nodes{},
      [done = std::move(done), jobs = services_.jobs,
       version = services_.version](result<node_list> all) {
        if (!all) return done(all.error());
        gateway::health_info info;
        info.version = version;
        for (const auto& node : all->nodes) info.nodes_connected += node.connected ? 1 : 0;
        // The ledger answers only while it can commit.
        jobs->count_jobs([done, info](result<ledger::job_counts> counts) mutable {
          info.ledger_ok = counts.has_value();
          for (const auto& [state, count] : counts ? *counts : ledger::job_counts{})
            info.jobs_by_state[std::string{ledger::name(state)}] = count;
          done(std::move(info));
        });
      });
}

void cloud_backend::list_models(
    gateway::caller, gateway::reply<std::vector<gateway::model_info>> done) {
  services_.actors->ask(
      services_.coordinator, local_answer, ask_nodes{},
      [done = std::move(done)](result<node_list> all) {
        if (!all) return done(all.error());
        done(models_of(*all));
      });
}

void cloud_backend::find_model(
    gateway::caller who, std::string id, gateway::reply<gateway::model_info> done) {
  list_models(who, [id, done = std::move(done)](result<std::vector<gateway::model_info>> all) {
    if (!all) return done(all.error());
    const auto found = std::ranges::find(*all, id, &gateway::model_info::id);
    if (found == all->end())
      return done(error{
          errc::not_found, fmt::format("no model '{}'", id), "GET /v1/models lists what there is"});
    done(std::move(*found));
  });
}

std::shared_ptr<gateway::generation_handle> cloud_backend::generate(
    gateway::generate_request request, std::shared_ptr<gateway::generation_sink> sink) {
  start_generation order;
  order.request = next_++;
  order.spec = to_spec(request);
  order.stream = request.stream;
  order.owner = request.who.owner;
  order.sink = std::move(sink);
  auto handle = std::make_shared<message_on_cancel<stop_generation>>(
      services_.coordinator, stop_generation{order.request});
  caf::anon_send(services_.coordinator, std::move(order));
  return handle;
}

std::shared_ptr<gateway::cancel_handle> cloud_backend::embed(
    gateway::embed_request request, gateway::reply<gateway::embedding_list> done) {
  start_embedding order;
  order.request = next_++;
  order.texts.model = std::move(request.model);
  order.texts.texts = std::move(request.texts);
  order.texts.dimensions = request.dimensions;
  order.texts.owner = request.who.owner;
  order.done = std::move(done);
  auto handle = std::make_shared<message_on_cancel<stop_generation>>(
      services_.coordinator, stop_generation{order.request});
  caf::anon_send(services_.coordinator, std::move(order));
  return handle;
}

std::shared_ptr<gateway::cancel_handle> cloud_backend::watch_job(
    gateway::caller who, std::string id, std::shared_ptr<gateway::progress_sink> sink) {
  dlls::actors::watch_job order;
  order.owner = who.owner;
  order.id = std::move(id);
  order.watcher = next_++;
  order.sink = std::move(sink);
  unwatch_job undo;
  undo.watcher = order.watcher;
  auto handle = std::make_shared<message_on_cancel<unwatch_job>>(services_.coordinator, undo);
  caf::anon_send(services_.coordinator, std::move(order));
  return handle;
}

void cloud_backend::list_nodes(
    gateway::caller, gateway::reply<std::vector<gateway::node_info>> done) {
  services_.actors->ask(
      services_.coordinator, local_answer, ask_nodes{},
      [done = std::move(done)](result<node_list> all) {
        if (!all) return done(all.error());
        std::vector<gateway::node_info> nodes;
        for (const auto& node : all->nodes) {
          gateway::node_info info;
          info.name = node.name;
          info.connected = node.connected;
          info.since = to_seconds(node.since_ms);
          info.version = node.software;
          for (const auto& model : node.models) info.models.push_back(model.name);
          info.jobs_running = static_cast<std::uint32_t>(node.leased.size());
          nodes.push_back(std::move(info));
        }
        done(std::move(nodes));
      });
}

// Totals come from the link; a job's phases stand in its events, so that a restart does not lose
// them.
void cloud_backend::traffic(
    gateway::caller who, std::string job, gateway::reply<std::vector<gateway::node_traffic>> done) {
  services_.actors->ask(
      services_.coordinator, local_answer, ask_nodes{},
      [done = std::move(done), job, owner = who.owner,
       jobs = services_.jobs](result<node_list> all) {
        if (!all) return done(all.error());
        auto list = std::make_shared<std::vector<gateway::node_traffic>>();
        for (const auto& node : all->nodes) {
          gateway::node_traffic one;
          one.node = node.name;
          one.since = to_seconds(node.since_ms);
          if (const auto found = all->readings.find(node.name); found != all->readings.end())
            one.total = to_count(found->second);
          list->push_back(std::move(one));
        }
        if (job.empty()) return done(std::move(*list));
        jobs->find_job(owner, job, [=](result<ledger::job> found) {
          if (!found) return done(found.error());
          jobs->events(
              owner, job, 0, ledger::limits::page_items_max, ledger::order::oldest_first,
              [=, node = found->node](result<ledger::page<ledger::event>> events) {
                if (!events) return done(events.error());
                gateway::node_traffic* at = nullptr;
                for (auto& one : *list)
                  if (one.node == node) at = &one;
                if (!at) {
                  list->emplace_back().node = node;
                  at = &list->back();
                }
                for (const auto& event : events->items) {
                  auto data = parse_json(event.data_json);
                  auto phase =
                      data ? text_member(*data, "link_phase") : result<std::string>{error{}};
                  if (!phase) continue;
                  const auto whole = [&](std::string_view name) {
                    return value_or(
                        whole_member(*data, name, 0, 0, ~std::uint64_t{0}), std::uint64_t{0});
                  };
                  gateway::traffic_phase told;
                  told.job = job;
                  told.phase = *phase;
                  told.seconds = value_or(number_member(*data, "seconds", 0), double{0});
                  told.count = {
                      whole("bytes_sent"), whole("bytes_received"), whole("packets_sent"),
                      whole("packets_received")};
                  at->phases.push_back(std::move(told));
                }
                done(std::move(*list));
              });
        });
      });
}

void cloud_backend::list_keys(
    gateway::caller, gateway::reply<std::vector<gateway::key_info>> done) {
  services_.jobs->list_api_keys([done = std::move(done)](result<std::vector<ledger::api_key>> got) {
    if (!got) return done(got.error());
    std::vector<gateway::key_info> keys;
    for (const auto& one : *got) keys.push_back(to_gateway(one));
    done(std::move(keys));
  });
}

void cloud_backend::add_key(
    gateway::caller who, std::string name, gateway::reply<gateway::new_key> done) {
  auto secret = new_api_key();
  services_.jobs->add_api_key(
      {base::sha256_hex(secret), std::move(name), std::move(who.owner)},
      [secret, done = std::move(done)](result<ledger::api_key> added) {
        if (!added) return done(added.error());
        done(gateway::new_key{to_gateway(*added), secret});
      });
}

void cloud_backend::revoke_key(
    gateway::caller, std::string id, gateway::reply<gateway::key_info> done) {
  services_.jobs->revoke_api_key(id, in_terms_of<ledger::api_key>(std::move(done)));
}

void cloud_backend::enroll(
    gateway::caller, std::string node_name, std::int64_t ttl_s,
    gateway::reply<gateway::enrolment> done) {
  if (!services_.make_token)
    return done(error{errc::unsupported, "this coordinator listens for no nodes"});
  if (!node_name.empty())
    if (auto good = runtime::link::check_node_name(node_name); !good) return done(good.error());
  std::string hash;
  gateway::enrolment made;
  made.token = services_.make_token(hash);
  made.name = node_name;
  const auto expires_ms = services_.clock->wall().count() + ttl_s * 1000;
  made.expires = to_seconds(expires_ms);
  services_.jobs->add_token(
      hash, expires_ms, node_name, [made, done = std::move(done)](auto added) {
        if (!added) return done(added.error());
        done(made);
      });
}

void cloud_backend::revoke_node(
    gateway::caller, std::string node_name, gateway::reply<gateway::node_info> done) {
  services_.jobs->revoke_node(
      node_name, [self = shared_from_this(), done = std::move(done)](result<ledger::node> revoked) {
        if (!revoked) return done(revoked.error());
        if (self->services_.node_revoked) self->services_.node_revoked(revoked->name);
        gateway::node_info info;
        info.name = revoked->name;
        info.since = to_seconds(revoked->revoked_ms.value_or(0));
        done(std::move(info));
      });
}

// --- webhooks

namespace {

gateway::webhook_info webhook_from(const json::value& value) {
  gateway::webhook_info info;
  info.url = value_or(text_member(value, "url", ""), std::string{});
  info.created = static_cast<std::int64_t>(
      value_or(whole_member(value, "created", 0, 0, 1ull << 40), std::uint64_t{0}));
  const auto& members = value.as_object();
  const auto flag = [&](const char* name, bool otherwise) {
    const auto* found = members.if_contains(name);
    return found && found->is_bool() ? found->get_bool() : otherwise;
  };
  info.allow_private = flag("allow_private", false);
  info.enabled = flag("enabled", true);
  return info;
}

}  // namespace

void cloud_backend::set_webhook(
    gateway::caller who, std::string url, bool allow_private,
    gateway::reply<gateway::webhook_registration> done) {
  gateway::webhook_registration made;
  made.info.url = std::move(url);
  made.info.allow_private = allow_private;
  made.info.created = services_.clock->wall_s();
  made.secret = gateway::new_webhook_secret();
  auto text = json::serialize(json::object{
      {"url", made.info.url},
      {"allow_private", allow_private},
      {"enabled", true},
      {"created", made.info.created},
      {"secret", made.secret}});
  services_.jobs->set_setting(
      webhook_setting(who.owner), std::move(text), [made, done = std::move(done)](auto stored) {
        if (!stored) return done(stored.error());
        done(made);
      });
}

void cloud_backend::find_webhook(gateway::caller who, gateway::reply<gateway::webhook_info> done) {
  services_.jobs->get_setting(
      webhook_setting(who.owner),
      [done = std::move(done)](result<std::optional<std::string>> found) {
        if (!found) return done(found.error());
        auto value = *found && !(*found)->empty() ? parse_json(**found)
                                                  : result<json::value>{error{errc::not_found, ""}};
        if (!value || !value->is_object())
          return done(
              error{errc::not_found, "no webhook is registered", "PUT /v1/webhook {\"url\": ...}"});
        done(webhook_from(*value));
      });
}

void cloud_backend::delete_webhook(
    gateway::caller who, gateway::reply<gateway::webhook_info> done) {
  auto jobs = services_.jobs;
  find_webhook(who, [jobs, who, done = std::move(done)](result<gateway::webhook_info> found) {
    if (!found) return done(found.error());
    jobs->set_setting(webhook_setting(who.owner), "", [found = *found, done](auto stored) {
      if (!stored) return done(stored.error());
      done(found);
    });
  });
}

}  // namespace dlls::actors
