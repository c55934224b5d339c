// The backend that the HTTP side sees, over a real ledger and coordinator.
#include "actors/cloud_backend.hpp"

#include <catch2/catch.hpp>

#include "tests/actors/protocol_world.hpp"
#include "tests/support/catch_result.hpp"
#include "tests/support/tiny_model.hpp"

using namespace dlls;
using namespace dlls::tests;
using namespace std::chrono_literals;
using base::errc;

namespace {

const gateway::caller me{"me", "test"};

std::shared_ptr<actors::cloud_backend> backend_of(world& w) {
  actors::backend_services services;
  services.jobs = w.books();
  services.actors = std::make_shared<runtime::outside>(w.system().actors());
  services.coordinator = w.cloud();
  services.clock = &w.system().base_clock();
  return std::make_shared<actors::cloud_backend>(std::move(services));
}

base::result<gateway::job_info> create(
    world& w, actors::cloud_backend& at, const gateway::job_request& request) {
  auto answer = std::make_shared<std::optional<base::result<gateway::job_info>>>();
  at.create_job(me, request, [answer](auto made) { answer->emplace(std::move(made)); });
  w.until([&] { return answer->has_value(); });
  REQUIRE(answer->has_value());
  return **answer;
}

}  // namespace

TEST_CASE("a repeated request finds its job when the file and the model are gone") {
  world w{seed_or(41)};
  auto& home = w.add_node("home");
  const auto model = home.services.models->folder() / "tiny.gguf";
  REQUIRE(test::write_tiny_model(model));
  w.cut(home, 0ms);
  REQUIRE(w.until([&] { return w.passed("hello answered") == 2; }));
  const auto file = ledger::wait_for<ledger::file>([&](auto done) {
    ledger::file entry;
    entry.owner = me.owner;
    entry.filename = "text";
    entry.purpose = "fine-tune";
    entry.bytes = 1;
    entry.sha256 = std::string(64, 'a');
    w.books()->add_file(entry, done);
  });
  REQUIRE(file);

  const auto cloud = backend_of(w);
  gateway::job_request request;
  request.kind = "pretrain";
  request.model = "tiny";
  request.files = {file->id};
  request.idempotency_key = "key";
  const auto first = create(w, *cloud, request);
  REQUIRE(first);
  REQUIRE(ledger::wait_for<ledger::file>(
      [&](auto done) { w.books()->delete_file(me.owner, file->id, done); }));
  std::filesystem::remove(model);
  w.cut(home, 0ms);
  REQUIRE(w.until([&] { return w.passed("hello answered") == 3; }));

  const auto again = create(w, *cloud, request);
  REQUIRE(again);
  CHECK(again->id == first->id);
  auto other = request;
  other.suffix = "other";
  CHECK(create(w, *cloud, other).error().code == errc::already_exists);
  other.idempotency_key = "another key";
  CHECK(create(w, *cloud, other).error().code == errc::not_found);
}
