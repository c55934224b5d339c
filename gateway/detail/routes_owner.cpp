// /v1/nodes, /v1/enrolments, /v1/keys, /v1/traffic, /v1/webhook: what the owner of the installation
// asks.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "gateway/detail/errors.hpp"
#include "gateway/detail/json_input.hpp"
#include "gateway/detail/json_output.hpp"
#include "gateway/detail/page_input.hpp"
#include "gateway/detail/replies.hpp"
#include "gateway/detail/routes.hpp"
#include "gateway/webhook.hpp"

namespace dlls::gateway::detail::owner {
namespace json = boost::json;
namespace {

constexpr std::size_t name_bytes_max = 64;
constexpr std::size_t url_bytes_max = 2048;
constexpr std::int64_t enrolment_s_default = 900;
constexpr std::int64_t enrolment_s_max = 86'400;

json::object node_object(const node_info& n) {
  json::array models;
  for (const auto& m : n.models) models.push_back(text_value(m));
  json::object out;
  out["id"] = text_value(n.name);
  out["object"] = "node";
  out["connected"] = n.connected;
  out["since"] = n.since;
  out["version"] = text_value(n.version);
  out["models"] = std::move(models);
  out["jobs_running"] = n.jobs_running;
  return out;
}

void put_count(json::object& out, const traffic_count& c) {
  out["bytes_sent"] = c.bytes_sent;
  out["bytes_received"] = c.bytes_received;
  out["frames_sent"] = c.frames_sent;
  out["frames_received"] = c.frames_received;
}

json::object traffic_object(const node_traffic& t) {
  json::array phases;
  for (const auto& p : t.phases) {
    json::object phase;
    phase["job"] = text_or_null(p.job);
    phase["phase"] = text_value(p.phase);
    phase["seconds"] = p.seconds;
    put_count(phase, p.count);
    phases.push_back(std::move(phase));
  }
  json::object out;
  out["id"] = text_value(t.node);
  out["object"] = "node.traffic";
  out["since"] = t.since;
  put_count(out, t.total);
  out["phases"] = std::move(phases);
  return out;
}

json::object key_object(const key_info& k) {
  json::object out;
  out["id"] = text_value(k.id);
  out["object"] = "key";
  out["name"] = text_value(k.name);
  out["created_at"] = k.created;
  out["revoked_at"] = nullptr;
  if (k.revoked) out["revoked_at"] = *k.revoked;
  return out;
}

json::object webhook_object(const webhook_info& w) {
  json::object out;
  out["object"] = "webhook";
  out["url"] = text_value(w.url);
  out["allow_private"] = w.allow_private;
  out["enabled"] = w.enabled;
  out["created_at"] = w.created;
  return out;
}

reply<webhook_info> webhook_reply(const exchange_ptr& out) {
  return object_reply<webhook_info>(out, webhook_object);
}

}  // namespace

void nodes(request in, backend& to, exchange_ptr out) {
  using found = std::vector<node_info>;
  to.list_nodes(
      std::move(in.who), on_home<found>(out, [out](base::result<found> got) {
        out->send(got ? list_response(*got, false, node_object) : to_response(got.error()));
      }));
}

void revoke(request in, backend& to, exchange_ptr out) {
  to.revoke_node(std::move(in.who), in.parameters[0], object_reply<node_info>(out, node_object));
}

void enroll(request in, backend& to, exchange_ptr out) {
  json_body body{in.body.empty() ? "{}" : in.body};
  const auto reader = body.reader();
  auto name = reader.text("name", name_bytes_max).value_or("");
  const auto ttl = reader.integer("ttl_s", 1, enrolment_s_max).value_or(enrolment_s_default);
  if (body.first) return out->send(to_response(*body.first));
  auto done = on_home<enrolment>(out, [out](base::result<enrolment> got) {
    if (!got) return out->send(to_response(got.error()));
    json::object whole;
    whole["object"] = "enrolment";
    whole["token"] = text_value(got->token);
    whole["name"] = text_value(got->name);
    whole["expires_at"] = got->expires;
    out->send(json_response(whole));
  });
  to.enroll(std::move(in.who), std::move(name), ttl, std::move(done));
}

void keys(request in, backend& to, exchange_ptr out) {
  using found = std::vector<key_info>;
  to.list_keys(std::move(in.who), on_home<found>(out, [out](base::result<found> got) {
                 out->send(got ? list_response(*got, false, key_object) : to_response(got.error()));
               }));
}

void add_key(request in, backend& to, exchange_ptr out) {
  json_body body{in.body};
  auto name = body.reader().required_text("name", name_bytes_max);
  if (body.first) return out->send(to_response(*body.first));
  auto done = on_home<new_key>(out, [out](base::result<new_key> got) {
    if (!got) return out->send(to_response(got.error()));
    auto whole = key_object(got->info);
    whole["secret"] = text_value(got->secret);
    out->send(json_response(whole));
  });
  to.add_key(std::move(in.who), std::move(name), std::move(done));
}

void revoke_key(request in, backend& to, exchange_ptr out) {
  to.revoke_key(std::move(in.who), in.parameters[0], object_reply<key_info>(out, key_object));
}

void traffic(request in, backend& to, exchange_ptr out) {
  using found = std::vector<node_traffic>;
  auto done = on_home<found>(out, [out](base::result<found> got) {
    out->send(got ? list_response(*got, false, traffic_object) : to_response(got.error()));
  });
  to.traffic(std::move(in.who), query_value(in, "job"), std::move(done));
}

void set_webhook(request in, backend& to, exchange_ptr out) {
  json_body body{in.body};
  const auto reader = body.reader();
  auto url = reader.required_text("url", url_bytes_max);
  const bool allow_private = reader.boolean("allow_private").value_or(false);
  if (!body.first)
    if (const auto ok = check_webhook_url(url, allow_private); !ok)
      body.first = bad_request(
          ok.error().hint.empty() ? ok.error().message
                                  : ok.error().message + " (" + ok.error().hint + ")",
          "url", "invalid_value");
  if (body.first) return out->send(to_response(*body.first));
  auto done = on_home<webhook_registration>(out, [out](base::result<webhook_registration> got) {
    if (!got) return out->send(to_response(got.error()));
    auto whole = webhook_object(got->info);
    whole["secret"] = text_value(got->secret);
    out->send(json_response(whole));
  });
  to.set_webhook(std::move(in.who), std::move(url), allow_private, std::move(done));
}

void find_webhook(request in, backend& to, exchange_ptr out) {
  to.find_webhook(std::move(in.who), webhook_reply(out));
}

void delete_webhook(request in, backend& to, exchange_ptr out) {
  to.delete_webhook(std::move(in.who), webhook_reply(out));
}

}  // namespace dlls::gateway::detail::owner
