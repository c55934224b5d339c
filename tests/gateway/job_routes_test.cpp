#include <catch2/catch.hpp>

#include "base/sha256.hpp"
#include "tests/gateway/probe.hpp"

using namespace dlls;
using test::ask;
using test::fake_backend;

namespace {

const std::string tuning = "/v1/fine_tuning/jobs";

// A backend with a training file, and the body that uses it.
struct prepared {
  fake_backend backend;
  std::string file = backend.add_file("alice", "train.jsonl", "{}");
  std::string body(const std::string& more = "") const {
    return R"({"model":"tiny","training_file":")" + file + '"' + more + "}";
  }
};

void make_ready(fake_backend& backend, const std::string& id, const std::string& state = "ready") {
  gateway::job_info job;
  job.id = id;
  job.state = state;
  job.request = backend.job_requests().back();
  job.node = "home";
  job.fine_tuned_model = "ft:tiny:dlls:mine:1";
  job.created = 1'750'000'000;
  job.finished = 1'750'000'100;
  job.trained_tokens = 1234;
  backend.set_job(job);
}

}  // namespace

TEST_CASE("a fine-tuning job has every member the SDK requires, nulls included") {
  prepared p;
  const auto a = ask(
      p.backend, "POST", tuning,
      {p.body(R"(,"suffix":"mine","seed":42,"metadata":{"team":"a"},"method":{"type":"supervised",
        "supervised":{"hyperparameters":{"n_epochs":3,"batch_size":"auto",
        "learning_rate_multiplier":0.5}}},"dlls":{"lora":{"rank":8}},"integrations":[])")});
  REQUIRE(a.status == 200);
  const auto j = a.json();
  CHECK(j.text("/id") == "ftjob-1");
  CHECK(j.text("/object") == "fine_tuning.job");
  CHECK(j.text("/status") == "validating_files");
  CHECK(j.integer("/hyperparameters/n_epochs") == 3);
  CHECK(j.text("/hyperparameters/batch_size") == "auto");
  CHECK(j.number("/method/supervised/hyperparameters/learning_rate_multiplier") == 0.5);
  CHECK(j.text("/metadata/team") == "a");
  CHECK(j.integer("/seed") == 42);
  const auto names = j.keys("");
  for (const std::string required :
       {"id", "created_at", "error", "fine_tuned_model", "finished_at", "hyperparameters", "model",
        "object", "organization_id", "result_files", "seed", "status", "trained_tokens",
        "training_file", "validation_file", "estimated_finish", "integrations", "metadata",
        "method"}) {
    INFO(required);
    CHECK(std::find(names.begin(), names.end(), required) != names.end());
  }
  for (const std::string null : {"/error", "/fine_tuned_model", "/finished_at", "/validation_file"})
    CHECK(j.dump(null) == "null");
  const auto r = p.backend.job_requests().at(0);
  CHECK(r.kind == "fine_tune");
  CHECK(r.suffix == "mine");
  CHECK(r.hyper.n_epochs == 3u);
  CHECK_FALSE(r.hyper.batch_size);
  CHECK(r.extra_json == R"({"lora":{"rank":8}})");
  CHECK(r.training_file() == p.file);
}

TEST_CASE("the deprecated hyperparameters still count") {
  prepared p;
  ask(p.backend, "POST", tuning, {p.body(R"(,"hyperparameters":{"n_epochs":7})")});
  CHECK(p.backend.job_requests().at(0).hyper.n_epochs == 7u);
}

TEST_CASE("a wrong fine-tuning request is 400 and names the parameter") {
  prepared p;
  const std::vector<std::pair<std::string, std::string>> all{
      {R"({"training_file":"file-1"})", "model"},
      {R"({"model":"tiny"})", "training_file"},
      {R"({"model":"tiny","training_file":""})", "training_file"},
      {p.body(R"(,"seed":-1)"), "seed"},
      {p.body(R"(,"seed":2147483648)"), "seed"},
      {p.body(R"(,"suffix":")" + std::string(65, 'x') + '"'), "suffix"},
      {p.body(R"(,"method":{"type":"reinforcement"})"), "method.type"},
      {p.body(R"(,"method":{})"), "method.type"},
      {p.body(R"(,"method":{"type":"supervised","supervised":{"hyperparameters":{"n_epochs":0}}})"),
       "method.supervised.hyperparameters.n_epochs"},
      {p.body(R"(,"hyperparameters":{"batch_size":"many"})"), "hyperparameters.batch_size"},
      {p.body(R"(,"hyperparameters":{"learning_rate_multiplier":-1})"),
       "hyperparameters.learning_rate_multiplier"},
      {p.body(R"(,"metadata":{"a":1})"), "metadata.a"},
      {p.body(R"(,"metadata":[])"), "metadata"},
      {p.body(R"(,"dlls":5)"), "dlls"},
      {p.body(R"(,"integrations":[{"type":"wandb"}])"), "integrations"},
  };
  for (const auto& [body, param] : all) {
    INFO(body);
    const auto a = ask(p.backend, "POST", tuning, {body});
    CHECK(a.status == 400);
    CHECK(a.error("param") == param);
  }
  CHECK(p.backend.job_requests().empty());
}

TEST_CASE("an unknown training file is 404") {
  fake_backend backend;
  const auto a = ask(backend, "POST", tuning, {R"({"model":"tiny","training_file":"file-x"})"});
  CHECK(a.status == 404);
  CHECK(a.error("message").find("file-x") != std::string::npos);
}

TEST_CASE("the same idempotency key gives the same job, with another body 409 without a retry") {
  prepared p;
  const auto submit = [&](const std::string& more) {
    return ask(p.backend, "POST", tuning, {p.body(more), "alice", "application/json", "key-1"});
  };
  const auto first = submit("");
  CHECK(submit("").json().text("/id") == first.json().text("/id"));
  const auto other = submit(R"(,"seed":1)");
  CHECK(other.status == 409);
  CHECK(other.header("x-should-retry") == "false");
  CHECK(other.error("code") == "already_exists");
  const auto odd = ask(
      p.backend, "POST", tuning, {p.body(), "alice", "application/json", std::string(129, 'k')});
  CHECK(odd.status == 400);
}

TEST_CASE("every state of ours has a word of OpenAI's") {
  prepared p;
  ask(p.backend, "POST", tuning, {p.body()});
  const std::vector<std::pair<std::string, std::string>> words{
      {"submitted", "validating_files"},
      {"queued", "queued"},
      {"offered", "queued"},
      {"running", "running"},
      {"lost_contact", "running"},
      {"ready", "succeeded"},
      {"fetched", "succeeded"},
      {"released", "succeeded"},
      {"failed", "failed"},
      {"expired", "failed"},
      {"cancelled", "cancelled"}};
  for (const auto& [state, word] : words) {
    make_ready(p.backend, "ftjob-1", state);
    const auto j = ask(p.backend, "GET", tuning + "/ftjob-1").json();
    CHECK(j.text("/status") == word);
    CHECK(j.text("/dlls/state") == state);
  }
}

TEST_CASE("a finished job names its model, a failed one its error") {
  prepared p;
  ask(p.backend, "POST", tuning, {p.body()});
  make_ready(p.backend, "ftjob-1");
  const auto j = ask(p.backend, "GET", tuning + "/ftjob-1").json();
  CHECK(j.text("/fine_tuned_model") == "ft:tiny:dlls:mine:1");
  CHECK(j.integer("/trained_tokens") == 1234);
  gateway::job_info failed;
  failed.id = "ftjob-1";
  failed.state = "failed";
  failed.request = p.backend.job_requests().back();
  failed.error = gateway::job_error{"training_file_invalid", "line 3 is broken", "training_file"};
  p.backend.set_job(failed);
  const auto f = ask(p.backend, "GET", tuning + "/ftjob-1").json();
  CHECK(f.text("/error/code") == "training_file_invalid");
  CHECK(f.text("/error/message") == "line 3 is broken");
  CHECK(f.text("/error/param") == "training_file");
}

TEST_CASE("jobs are listed, cancelled once, and their events come newest first") {
  prepared p;
  for (int i = 0; i < 3; ++i) ask(p.backend, "POST", tuning, {p.body()});
  const auto list = ask(p.backend, "GET", tuning + "?limit=2");
  CHECK(list.json().text("/data/0/id") == "ftjob-3");
  CHECK(list.json().boolean("/has_more") == true);
  CHECK(ask(p.backend, "GET", tuning + "?limit=101").status == 400);
  const auto cancelled = ask(p.backend, "POST", tuning + "/ftjob-1/cancel");
  CHECK(cancelled.json().text("/status") == "cancelled");
  const auto again = ask(p.backend, "POST", tuning + "/ftjob-1/cancel");
  CHECK(again.status == 409);
  CHECK(again.header("x-should-retry") == "false");
  const auto events = ask(p.backend, "GET", tuning + "/ftjob-1/events?limit=2").json();
  CHECK(events.text("/data/0/object") == "fine_tuning.job.event");
  CHECK(events.text("/data/0/id") == "ftevent-3");
  CHECK(events.number("/data/1/data/train_loss") == 1.5);
  CHECK(events.dump("/data/0/data") == "null");
  const auto checkpoints = ask(p.backend, "GET", tuning + "/ftjob-1/checkpoints").json();
  CHECK(checkpoints.dump("/data") == "[]");
  CHECK(checkpoints.boolean("/has_more") == false);
}

TEST_CASE("somebody else's job is not there") {
  prepared p;
  ask(p.backend, "POST", tuning, {p.body()});
  make_ready(p.backend, "ftjob-1");
  for (const auto& [method, target] : std::vector<std::pair<std::string, std::string>>{
           {"GET", tuning + "/ftjob-1"},
           {"POST", tuning + "/ftjob-1/cancel"},
           {"GET", tuning + "/ftjob-1/events"},
           {"GET", tuning + "/ftjob-1/checkpoints"},
           {"GET", "/v1/jobs/ftjob-1"},
           {"GET", "/v1/jobs/ftjob-1/result"},
           {"GET", "/v1/jobs/ftjob-1/watch"},
           {"POST", "/v1/jobs/ftjob-1/release"}}) {
    INFO(target);
    CHECK(ask(p.backend, method, target, {"", "bob"}).status == 404);
  }
}

TEST_CASE("a plain job goes through /v1/jobs and isn't a fine-tuning job") {
  prepared p;
  const auto a =
      ask(p.backend, "POST", "/v1/jobs",
          {R"({"kind":"checksum","files":[")" + p.file + R"("],"spec":{"b":1,"a":2}})"});
  REQUIRE(a.status == 200);
  CHECK(a.json().text("/object") == "job");
  CHECK(a.json().text("/kind") == "checksum");
  CHECK(a.json().text("/state") == "submitted");
  CHECK(a.json().integer("/spec/a") == 2);
  const auto id = *a.json().text("/id");
  CHECK(ask(p.backend, "GET", tuning + "/" + id).status == 404);
  CHECK(ask(p.backend, "GET", "/v1/jobs?kind=checksum").json().size("/data") == 1);
  CHECK(ask(p.backend, "GET", "/v1/jobs?kind=pretrain").json().size("/data") == 0);
  CHECK(ask(p.backend, "POST", "/v1/jobs", {"{}"}).error("param") == "kind");
  CHECK(
      ask(p.backend, "POST", "/v1/jobs", {R"({"kind":"checksum","files":[1]})"}).error("param") ==
      "files[0]");
}

TEST_CASE("a result is refused before it is ready, then given, then released") {
  prepared p;
  ask(p.backend, "POST", tuning, {p.body()});
  const auto early = ask(p.backend, "GET", "/v1/jobs/ftjob-1/result");
  CHECK(early.status == 409);
  CHECK(early.header("x-should-retry") == "false");
  make_ready(p.backend, "ftjob-1");
  CHECK(ask(p.backend, "GET", "/v1/jobs/ftjob-1/result").body == R"({"artifacts":[]})");
  const auto bytes = std::string(200'000, 'a');
  const auto path = "/v1/jobs/ftjob-1/artifacts/";
  CHECK(ask(p.backend, "GET", path + base::sha256_hex(bytes)).body == bytes);
  CHECK(ask(p.backend, "GET", path + std::string(64, '0')).status == 404);
  CHECK(ask(p.backend, "GET", path + std::string("x")).status == 400);
  CHECK(ask(p.backend, "POST", "/v1/jobs/ftjob-1/release").json().text("/state") == "released");
}

TEST_CASE("watching a job streams its progress until it has a result") {
  prepared p;
  ask(p.backend, "POST", tuning, {p.body()});
  make_ready(p.backend, "ftjob-1");
  const auto a = ask(p.backend, "GET", "/v1/jobs/ftjob-1/watch");
  REQUIRE(a.whole->events.size() == 3);
  CHECK(a.event(0).text("/object") == "job.progress");
  CHECK(a.event(0).integer("/steps") == 10);
  CHECK(a.event(0).number("/loss") == 2.25);
  CHECK(a.event(1).text("/state") == "ready");
  CHECK(a.whole->events[2] == "[DONE]");
  CHECK(a.whole->ended);
  CHECK(ask(p.backend, "GET", "/v1/jobs/none/watch").status == 404);
}

TEST_CASE("the owner sees nodes and traffic, enrols a node and revokes it") {
  fake_backend backend;
  CHECK(ask(backend, "GET", "/v1/nodes").json().text("/data/0/id") == "home");
  const auto traffic = ask(backend, "GET", "/v1/traffic?job=ftjob-1").json();
  CHECK(traffic.integer("/data/0/bytes_received") == 200);
  CHECK(traffic.text("/data/0/phases/0/job") == "ftjob-1");
  const auto token = ask(backend, "POST", "/v1/enrolments", {R"({"name":"attic","ttl_s":60})"});
  CHECK(token.json().text("/token") == "dlls-join-secret");
  CHECK(token.json().integer("/expires_at") == 1'750'000'060);
  CHECK(ask(backend, "POST", "/v1/enrolments", {""}).status == 200);
  CHECK(ask(backend, "POST", "/v1/enrolments", {R"({"ttl_s":0})"}).error("param") == "ttl_s");
  CHECK(ask(backend, "DELETE", "/v1/nodes/home").status == 200);
  CHECK(ask(backend, "DELETE", "/v1/nodes/attic").status == 404);
}

TEST_CASE("the owner lists keys, makes one that is shown once, and ends one") {
  fake_backend backend;
  const auto path = "/v1/keys";
  const auto all = ask(backend, "GET", path).json();
  CHECK(all.text("/data/0/name") == "first");
  CHECK_FALSE(all.text("/data/0/secret"));
  const auto made = ask(backend, "POST", path, {R"({"name":"laptop"})"});
  CHECK(made.json().text("/secret") == "dlls-secret");
  CHECK(made.json().text("/name") == "laptop");
  CHECK(ask(backend, "POST", path, {"{}"}).error("param") == "name");
  CHECK(ask(backend, "DELETE", "/v1/keys/key_1").json().integer("/revoked_at") == 1'750'000'000);
  CHECK(ask(backend, "DELETE", "/v1/keys/key_9").status == 404);
}

TEST_CASE("a webhook's secret is shown once, and only a usable URL is taken") {
  fake_backend backend;
  const auto path = "/v1/webhook";
  CHECK(ask(backend, "GET", path).status == 404);
  const auto set = ask(backend, "PUT", path, {R"({"url":"https://example.com/hook"})"});
  REQUIRE(set.status == 200);
  CHECK(set.json().text("/secret")->starts_with("whsec_"));
  const auto got = ask(backend, "GET", path);
  CHECK(got.json().text("/url") == "https://example.com/hook");
  CHECK_FALSE(got.json().has("/secret"));
  for (const std::string body :
       {R"({})", R"({"url":5})", R"({"url":"http://example.com/"})", R"({"url":"ftp://a/"})",
        R"({"url":"https://u:p@a/"})", R"({"url":"https://127.0.0.1/"})",
        R"({"url":"https://[::1]/"})"}) {
    INFO(body);
    const auto a = ask(backend, "PUT", path, {body});
    CHECK(a.status == 400);
    CHECK(a.error("param") == "url");
  }
  CHECK(
      ask(backend, "PUT", path, {R"({"url":"http://127.0.0.1:9/","allow_private":true})"}).status ==
      200);
  CHECK(ask(backend, "DELETE", path).status == 200);
  CHECK(ask(backend, "GET", path).status == 404);
}

TEST_CASE("a job's specification survives the ledger, and equal requests give equal text") {
  gateway::job_request r;
  r.kind = "fine_tune";
  r.model = "tiny";
  r.files = {"file-1", "file-2"};
  r.suffix = "mine";
  r.seed = 42;
  r.method = "dpo";
  r.hyper.n_epochs = 3;
  r.hyper.beta = 0.1;
  r.metadata_json = R"({"b":"1","a":"2"})";
  r.extra_json = R"({"lora":{"rank":8,"alpha":16}})";
  r.idempotency_key = "left out";
  const auto text = gateway::to_spec_json(r);
  const auto back = gateway::from_spec_json(text);
  REQUIRE(back);
  CHECK(gateway::to_spec_json(*back) == text);
  CHECK(back->validation_file() == "file-2");
  CHECK(back->hyper.beta == 0.1);
  CHECK_FALSE(back->hyper.batch_size);
  CHECK(back->idempotency_key.empty());
  auto reordered = r;
  reordered.metadata_json = R"({ "a" : "2", "b" : "1" })";
  CHECK(gateway::to_spec_json(reordered) == text);
  CHECK(gateway::from_spec_json("[]").error().code == base::errc::corrupt);
  CHECK(gateway::from_spec_json(R"({"files":[1]})").error().code == base::errc::corrupt);
}
