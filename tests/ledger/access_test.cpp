// Files, keys, nodes, tokens, webhooks, settings.
#include <catch2/catch.hpp>

#include "base/sha256.hpp"
#include "ledger_fixture.hpp"

using namespace dlls::ledger;
using dlls::base::errc;
using dlls::base::result;
using dlls::base::sha256_hex;

namespace {

file a_file(const std::string& content, const std::string& owner = "org") {
  file f;
  f.owner = owner;
  f.filename = "../../train.jsonl";  // kept as text, never a path
  f.purpose = "fine-tune";
  f.bytes = content.size();
  f.sha256 = sha256_hex(content);
  return f;
}

struct fixture : ledger_fixture {
  result<file> add(file f) {
    return wait_for<file>([&](auto done) { l->add_file(f, done); });
  }
  result<file> erase(const std::string& id, owner_scope owner = any_owner) {
    return wait_for<file>([&](auto done) { l->delete_file(owner, id, done); });
  }
  result<api_key> add_key(api_key k) {
    return wait_for<api_key>([&](auto done) { l->add_api_key(k, done); });
  }
  result<api_key> find_key(const std::string& hash) {
    return wait_for<api_key>([&](auto done) { l->find_api_key(hash, done); });
  }
  result<node> add_node(const std::string& name, const std::string& print) {
    return wait_for<node>([&](auto done) { l->add_node(name, print, done); });
  }
  result<bool> add_token(const std::string& hash, const std::string& node = "") {
    const auto expires = clock.wall().count() + 600'000;
    return wait_for<bool>([&](auto done) { l->add_token(hash, expires, node, done); });
  }
  result<node> redeem(const std::string& token, const std::string& name, const std::string& print) {
    return wait_for<node>([&](auto done) {
      l->redeem_token(redemption{token, name, print}, done);
    });
  }
  result<bool> sent(const std::string& id) {
    return wait_for<bool>([&](auto done) { l->mark_sent(id, done); });
  }
  result<bool> failed(const std::string& id, std::optional<std::int64_t> next) {
    return wait_for<bool>([&](auto done) { l->mark_failed(id, next, "HTTP 500", done); });
  }
  result<std::optional<std::int64_t>> next_due() {
    return wait_for<std::optional<std::int64_t>>([&](auto done) { l->next_due(done); });
  }
  std::string ready_job_with_webhook(const std::string& webhook) {
    edge e{job_in(job_state::running).id, job_state::running, job_state::ready};
    e.outbox = new_outbox_row{webhook, "job.ready", R"({"ok":true})"};
    return advance(e).value().id;
  }
};

}  // namespace

TEST_CASE("a file is found by its owner alone, and listed by purpose") {
  fixture f;
  const auto added = f.add(a_file("one")).value();
  CHECK(added.id.starts_with("file-"));
  CHECK(added.created_ms == f.clock.wall().count());
  f.reopen();
  const auto find = [&](owner_scope owner) {
    return wait_for<file>([&](auto done) { f.l->find_file(owner, added.id, done); });
  };
  CHECK(find("org")->filename == "../../train.jsonl");
  CHECK(find("org")->sha256 == sha256_hex("one"));
  CHECK(find("stranger").error().code == errc::not_found);
  CHECK(f.add(added).error().code == errc::already_exists);
  CHECK(f.add(a_file("two")));

  file_filter all;
  all.owner = "org";
  all.limit = 1;
  const auto list = [&] {
    return wait_for<page<file>>([&](auto done) { f.l->list_files(all, done); });
  };
  CHECK(list()->has_more);
  CHECK(list()->items[0].sha256 == sha256_hex("two"));
  all.after = list()->items[0].id;
  CHECK(list()->items[0].id == added.id);
  CHECK_FALSE(list()->has_more);
  all.purpose = "batch";
  CHECK(list()->items.empty());
}

TEST_CASE("a blob is unused only when no file, no unfinished job and no result names it") {
  fixture f;
  const auto same = sha256_hex("same"), stray = sha256_hex("stray");
  const auto unused = [&] {
    return wait_for<std::vector<std::string>>([&](auto done) {
             f.l->unused_blobs({same, stray}, done);
           })
        .value();
  };
  const std::vector only_stray{stray};
  const auto one = f.add(a_file("same")).value();
  auto j = a_job();
  j.inputs = {same};
  const auto id = f.submit(j)->job.id;
  CHECK(f.erase(one.id, "stranger").error().code == errc::not_found);
  CHECK(f.erase(one.id));
  CHECK(f.erase(one.id).error().code == errc::not_found);
  CHECK(unused() == only_stray);  // the job
  const auto two = f.add(a_file("same", "other")).value();
  REQUIRE(f.advance(id, job_state::submitted, job_state::cancelled));
  CHECK(unused() == only_stray);  // the second file
  CHECK(f.erase(two.id));
  CHECK(unused().size() == 2);
}

TEST_CASE("what a job's manifest names is in use until the job is forgotten") {
  fixture f;
  const auto made = sha256_hex("made"), stray = sha256_hex("stray");
  const auto id = f.job_in(job_state::running).id;
  edge step{id, job_state::running, job_state::ready};
  step.manifest_json =
      R"({"artifacts":[{"name":"a \"log\"","sha256":")" + made + R"("}],"model":""})";
  REQUIRE(wait_for<job>([&](auto done) { f.l->advance(step, done); }));
  const auto unused = wait_for<std::vector<std::string>>([&](auto done) {
    f.l->unused_blobs({made, stray}, done);
  });
  CHECK(unused.value() == std::vector{stray});
}

TEST_CASE("a file whose time is over is gone at once, and its row with the next forget") {
  fixture f;
  auto brief = a_file("brief");
  brief.expires_ms = f.clock.wall().count() + 1000;
  const auto id = f.add(brief)->id;
  const auto find = [&] {
    return wait_for<file>([&](auto done) { f.l->find_file(any_owner, id, done); });
  };
  const auto forget = [&] {
    return wait_for<std::uint64_t>([&](auto done) { f.l->forget(0, 100, done); }).value();
  };
  CHECK(find());
  CHECK(forget() == 0);
  f.clock.advance(std::chrono::seconds{1});
  CHECK(find().error().code == errc::not_found);
  file_filter all;
  CHECK(wait_for<page<file>>([&](auto done) { f.l->list_files(all, done); })->items.empty());
  CHECK(forget() == 1);
  CHECK(forget() == 0);
}

TEST_CASE("an API key opens the door until it expires or is revoked, an unknown one never") {
  fixture f;
  const auto hash = sha256_hex("sk-1");
  CHECK(f.find_key(hash).error().code == errc::unauthenticated);
  auto key = api_key{hash, "laptop", "org"};
  key.expires_ms = f.clock.wall().count() + 1000;
  const auto added = f.add_key(key).value();
  CHECK(f.find_key(hash)->owner == "org");
  CHECK(f.add_key(key).error().code == errc::already_exists);
  f.clock.advance(std::chrono::seconds{1});
  CHECK(f.find_key(hash).error().code == errc::unauthenticated);

  const auto other = f.add_key(api_key{sha256_hex("sk-2"), "server", "org"}).value();
  const auto revoke = [&](const std::string& id) {
    return wait_for<api_key>([&](auto done) { f.l->revoke_api_key(id, done); });
  };
  CHECK(revoke(other.id).error().code == errc::failed_precondition);  // the last that opens
  CHECK(f.find_key(other.hash));
  const auto last = f.add_key(api_key{sha256_hex("sk-3"), "last", "org"}).value();
  CHECK(revoke(other.id).value().revoked_ms);
  CHECK(f.find_key(other.hash).error().code == errc::unauthenticated);
  CHECK(revoke("key_none").error().code == errc::not_found);
  CHECK(revoke(last.id).error().code == errc::failed_precondition);
  CHECK(f.find_key(sha256_hex("sk-3")));
  const auto keys = wait_for<std::vector<api_key>>([&](auto done) { f.l->list_api_keys(done); });
  CHECK(keys->size() == 3);
  CHECK(f.add_key(api_key{"sk-3", "plain", "org"}).error().code == errc::invalid_argument);
}

TEST_CASE("a join token is good once, in time, and says why it is not") {
  fixture f;
  const auto token = sha256_hex("t1"), print = sha256_hex("cert"), other = sha256_hex("cert 2");
  const auto why = [](const auto& r) { return r.error().message; };
  CHECK(why(f.redeem(token, "home", print)) == "the join token is unknown");
  REQUIRE(f.add_token(token));
  CHECK(f.add_token(token).error().code == errc::already_exists);
  CHECK(f.redeem(token, "home", print)->fingerprint == print);
  CHECK(f.redeem(token, "home", print).error().code == errc::unauthenticated);
  CHECK(why(f.redeem(token, "home", print)) == "the join token was used already");

  const auto late = sha256_hex("t2");
  REQUIRE(f.add_token(late));
  f.clock.advance(std::chrono::minutes{10});
  CHECK(why(f.redeem(late, "office", print)) == "the join token has expired");

  // A token for anybody can't take a name over, and survives the attempt.
  const auto open = sha256_hex("t3"), bound = sha256_hex("t4");
  REQUIRE(f.add_token(open));
  CHECK(f.redeem(open, "home", other).error().code == errc::already_exists);
  CHECK(f.redeem(open, "office", other));
  // One made for the name can.
  REQUIRE(f.add_token(bound, "home"));
  CHECK(why(f.redeem(bound, "attic", other)) == "the join token was made for another node");
  CHECK(f.redeem(bound, "home", other)->fingerprint == other);
}

TEST_CASE("a node keeps its name and certificate until it is revoked") {
  fixture f;
  const auto print = sha256_hex("a"), other = sha256_hex("b");
  CHECK(f.add_node("home", print));
  CHECK(f.add_node("home", print));
  CHECK(f.add_node("home", other).error().code == errc::already_exists);
  const auto revoke = [&](const std::string& name) {
    return wait_for<node>([&](auto done) { f.l->revoke_node(name, done); });
  };
  CHECK(revoke("home")->revoked_ms);
  CHECK(revoke("attic").error().code == errc::not_found);
  CHECK(f.add_node("home", other)->fingerprint == other);
  const auto nodes = wait_for<std::vector<node>>([&](auto done) { f.l->list_nodes(done); });
  REQUIRE(nodes->size() == 1);
  CHECK_FALSE(nodes->front().revoked_ms);
}

TEST_CASE("a webhook that is claimed and never marked falls due again under the same id") {
  fixture f;
  const auto job_id = f.ready_job_with_webhook("evt_1");
  CHECK(f.next_due().value() == f.clock.wall().count());
  const auto first = f.claim().value();
  REQUIRE(first.size() == 1);
  CHECK(first[0].job == job_id);
  CHECK(first[0].owner == "org");
  CHECK(first[0].attempts == 1);
  CHECK(f.claim()->empty());
  f.reopen();
  f.clock.advance(std::chrono::seconds{60});
  const auto again = f.claim().value();
  REQUIRE(again.size() == 1);
  CHECK(again[0].id == "evt_1");
  CHECK(again[0].attempts == 2);

  const auto later = f.clock.wall().count() + 5000;
  CHECK(f.failed("evt_1", later));
  CHECK(f.next_due().value() == later);
  f.clock.advance(std::chrono::seconds{5});
  CHECK(f.claim()->size() == 1);
  CHECK(f.sent("evt_1"));
  CHECK(f.failed("evt_1", later));  // too late: it stays sent
  CHECK_FALSE(f.next_due().value());
  CHECK(f.sent("evt_none").error().code == errc::not_found);
}

TEST_CASE("a webhook that is given up is not claimed again") {
  fixture f;
  f.ready_job_with_webhook("");
  const auto row = f.claim()->at(0);
  CHECK(row.id.starts_with("evt_"));
  CHECK(f.failed(row.id, std::nullopt));
  f.clock.advance(std::chrono::hours{24});
  CHECK(f.claim()->empty());
}

TEST_CASE("a setting is what was written last, over a restart too") {
  fixture f;
  const auto get = [&](const std::string& key) {
    return wait_for<std::optional<std::string>>([&](auto done) { f.l->get_setting(key, done); })
        .value();
  };
  const auto set = [&](const std::string& key, const std::string& value) {
    return wait_for<bool>([&](auto done) { f.l->set_setting(key, value, done); });
  };
  CHECK_FALSE(get("webhook"));
  CHECK(set("webhook", "https://a.example"));
  CHECK(set("webhook", "https://b.example"));
  f.reopen();
  CHECK(get("webhook") == "https://b.example");
  CHECK(set("", "x").error().code == errc::invalid_argument);
}
