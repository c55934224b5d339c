#include <catch2/catch.hpp>

#include "tests/gateway/probe.hpp"

using namespace dlls;
using test::ask;
using test::fake_backend;
using test::make_form;

namespace {

test::answered upload(
    fake_backend& to, const std::vector<std::pair<std::string, std::string>>& fields,
    const std::string& filename = "train.jsonl") {
  const auto form = make_form(fields, filename);
  return ask(to, "POST", "/v1/files", {form.body, "alice", form.content_type});
}

}  // namespace

TEST_CASE("an uploaded file comes back as OpenAI's object and keeps its bytes") {
  fake_backend backend;
  const auto a = upload(backend, {{"purpose", "fine-tune"}, {"file", "{\"a\":1}\n"}});
  REQUIRE(a.status == 200);
  const auto j = a.json();
  CHECK(j.text("/object") == "file");
  CHECK(j.text("/filename") == "train.jsonl");
  CHECK(j.text("/purpose") == "fine-tune");
  CHECK(j.integer("/bytes") == 8);
  CHECK(j.text("/status") == "processed");
  CHECK(j.dump("/expires_at") == "null");
  CHECK(backend.file_bytes(*j.text("/id")) == "{\"a\":1}\n");
}

TEST_CASE("the parts of an upload may come in any order, with an expiry") {
  fake_backend backend;
  const auto a = upload(
      backend, {{"file", "x"},
                {"expires_after[seconds]", "3600"},
                {"expires_after[anchor]", "created_at"},
                {"purpose", "batch"}});
  REQUIRE(a.status == 200);
  CHECK(a.json().integer("/expires_at") == 1'750'003'600);
}

TEST_CASE("a file's name is a label without its folders") {
  fake_backend backend;
  const auto name_of = [&](const std::string& name) {
    return upload(backend, {{"purpose", "batch"}, {"file", "x"}}, name).json().text("/filename");
  };
  CHECK(name_of("../../etc/passwd") == "passwd");
  CHECK(name_of("C:\\data\\a.jsonl") == "a.jsonl");
  CHECK(name_of("a\tb") == "ab");
}

TEST_CASE("a wrong upload is 400, says why, and leaves nothing behind") {
  fake_backend backend;
  const auto refused = [&](const test::answered& a, std::string_view word) {
    CHECK(a.status == 400);
    CHECK(a.error("message").find(word) != std::string::npos);
  };
  refused(upload(backend, {{"purpose", "fine-tune"}}), "no 'file'");
  refused(upload(backend, {{"file", "x"}}), "no 'purpose'");
  refused(upload(backend, {{"file", "x"}, {"purpose", "fun"}}), "'purpose' must be");
  refused(upload(backend, {{"file", "x"}, {"file", "y"}, {"purpose", "batch"}}), "two files");
  refused(upload(backend, {{"file", "x"}, {"purpose", "batch"}}, ""), "file name");
  refused(upload(backend, {{"file", "x"}, {"purpose", "batch"}}, "a/"), "file name");
  refused(
      upload(backend, {{"file", "x"}, {"purpose", std::string(2000, 'p')}}),
      "'purpose' is too long");
  refused(
      upload(backend, {{"file", "x"}, {"purpose", "batch"}, {"expires_after[seconds]", "5"}}),
      "3600");
  refused(
      upload(backend, {{"file", "x"}, {"purpose", "batch"}, {"expires_after[anchor]", "now"}}),
      "anchor");
  refused(ask(backend, "POST", "/v1/files", {"{}"}), "multipart");
  auto form = make_form({{"file", "x"}, {"purpose", "batch"}});
  form.body.resize(form.body.size() - 6);
  refused(
      ask(backend, "POST", "/v1/files", {form.body, "alice", form.content_type}), "last boundary");
  CHECK(backend.file_count() == 0);
  CHECK(backend.aborted_uploads() > 5);
}

TEST_CASE("a full disk refuses an upload with 507") {
  fake_backend backend;
  backend.fail_with({base::errc::storage_full, "less than a fifth of the disk is free"});
  const auto a = upload(backend, {{"file", "x"}, {"purpose", "batch"}});
  CHECK(a.status == 507);
  CHECK(a.error("code") == "storage_full");
}

TEST_CASE("files are listed newest first, page by page") {
  fake_backend backend;
  for (int i = 0; i < 5; ++i) backend.add_file("alice", "f", "x");
  backend.add_file("bob", "theirs", "y");
  const auto first = ask(backend, "GET", "/v1/files?limit=2");
  CHECK(first.json().dump("/has_more") == "true");
  CHECK(first.json().text("/data/0/id") == "file-5");
  CHECK(first.json().text("/last_id") == "file-4");
  const auto next = ask(backend, "GET", "/v1/files?limit=3&after=file-4");
  CHECK(next.json().size("/data") == 3);
  CHECK(next.json().dump("/has_more") == "false");
  CHECK(ask(backend, "GET", "/v1/files?order=asc").json().text("/data/0/id") == "file-1");
  CHECK(ask(backend, "GET", "/v1/files?purpose=batch").json().size("/data") == 0);
  CHECK(ask(backend, "GET", "/v1/files?purpose=batch").json().dump("/first_id") == "null");
}

TEST_CASE("a wrong page is 400 and names the parameter") {
  fake_backend backend;
  for (const std::string query : {"limit=0", "limit=10001", "limit=-1", "limit=x", "limit=1e3"}) {
    INFO(query);
    const auto a = ask(backend, "GET", "/v1/files?" + query);
    CHECK(a.status == 400);
    CHECK(a.error("param") == "limit");
  }
  CHECK(ask(backend, "GET", "/v1/files?order=up").error("param") == "order");
  CHECK(ask(backend, "GET", "/v1/files?after=" + std::string(200, 'a')).error("param") == "after");
}

TEST_CASE("a file is found, read and deleted by its owner only") {
  fake_backend backend;
  const auto id = backend.add_file("alice", "f", std::string("a\0b", 3));
  const auto path = "/v1/files/" + id;
  CHECK(ask(backend, "GET", path).json().text("/id") == id);
  CHECK(ask(backend, "GET", path + "/content").body == std::string("a\0b", 3));
  for (const auto& [method, target] : std::vector<std::pair<std::string, std::string>>{
           {"GET", path}, {"GET", path + "/content"}, {"DELETE", path}})
    CHECK(ask(backend, method, target, {"", "bob"}).status == 404);
  const auto gone = ask(backend, "DELETE", path);
  CHECK(gone.json().boolean("/deleted") == true);
  CHECK(gone.json().text("/object") == "file");
  CHECK(ask(backend, "GET", path).status == 404);
}
