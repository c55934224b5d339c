#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "base/sha256.hpp"
#include "ledger/artifact_store.hpp"
#include "ledger_fixture.hpp"

using namespace dlls::ledger;
using dlls::base::errc;
using dlls::base::sha256_hex;

namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span{text}); }

struct fixture {
  scratch_folder folder;
  artifact_store store = artifact_store::open(folder.path() / "artifacts").value();

  artifact put(const std::string& text) {
    auto w = store.begin(expectation{text.size(), sha256_hex(text)}).value();
    REQUIRE(w.append(bytes(text)));
    return w.seal().value();
  }
  std::size_t parts() const {
    using iterator = std::filesystem::directory_iterator;
    return static_cast<std::size_t>(
        std::distance(iterator{folder.path() / "artifacts" / "parts"}, iterator{}));
  }
};

std::string content_of(const artifact_store& store, const std::string& sha256) {
  const auto reader = store.open_blob(sha256).value();
  std::string text(reader.size(), '\0');
  REQUIRE(reader.read_at(0, std::as_writable_bytes(std::span{text})).value() == text.size());
  return text;
}

const std::string text = "twelve bytes";

}  // namespace

TEST_CASE("a sealed artifact reads back, is listed, and can be removed") {
  fixture f;
  const auto a = f.put(text);
  CHECK(a == artifact{sha256_hex(text), text.size()});
  CHECK(content_of(f.store, a.sha256) == text);
  CHECK(f.store.verify(a.sha256));
  CHECK(f.store.list().value() == std::vector{a});
  CHECK(f.parts() == 0);

  std::array<std::byte, 4> tail;
  const auto reader = f.store.open_blob(a.sha256).value();
  CHECK(reader.read_at(10, tail).value() == 2);
  CHECK(reader.read_at(12, tail).value() == 0);
  CHECK(reader.read_at(1'000, tail).value() == 0);

  CHECK(f.store.begin(expectation{text.size(), a.sha256}).error().code == errc::already_exists);
  CHECK(f.store.remove(a.sha256));
  CHECK(f.store.remove(a.sha256).error().code == errc::not_found);
  CHECK(f.store.open_blob(a.sha256).error().code == errc::not_found);
  CHECK(f.store.path_of(a.sha256).error().code == errc::not_found);
}

TEST_CASE("a broken transfer goes on where it stopped, after a restart too") {
  fixture f;
  const expectation what{text.size(), sha256_hex(text)};
  {
    auto w = f.store.begin(what).value();
    REQUIRE(w.append(bytes(text).first(5)));
  }
  f.store = artifact_store::open(f.folder.path() / "artifacts").value();
  auto w = f.store.begin(what).value();
  CHECK(w.size() == 5);
  CHECK(w.seal().error().code == errc::failed_precondition);
  CHECK(w.write_at(3, bytes(text).subspan(3, 4)));  // two of them for the second time
  CHECK(w.size() == 7);
  CHECK(w.write_at(0, bytes(text).first(7)));
  CHECK(w.size() == 7);
  CHECK(w.write_at(7, bytes(text).subspan(7)));
  CHECK(w.seal());
  CHECK(content_of(f.store, sha256_hex(text)) == text);
}

TEST_CASE("bytes past the next offset or past the declared size are refused") {
  fixture f;
  auto w = f.store.begin(expectation{text.size(), sha256_hex(text)}).value();
  CHECK(w.write_at(1, bytes(text)).error().code == errc::invalid_argument);
  CHECK(w.write_at(~0ull, bytes(text)).error().code == errc::invalid_argument);
  CHECK(w.append(bytes(text + "x")).error().code == errc::invalid_argument);
  CHECK(w.size() == 0);

  expectation open_ended;
  open_ended.bytes_max = 4;
  auto small = f.store.begin(open_ended).value();
  CHECK(small.append(bytes("1234")));
  CHECK(small.append(bytes("5")).error().code == errc::invalid_argument);
  expectation large;
  large.bytes = 5;
  large.bytes_max = 4;
  CHECK(f.store.begin(large).error().code == errc::invalid_argument);
}

TEST_CASE("wrong bytes never get the name, and the transfer begins again") {
  fixture f;
  const expectation what{text.size(), sha256_hex(text)};
  auto w = f.store.begin(what).value();
  REQUIRE(w.append(bytes("twelve bytez")));
  CHECK(w.seal().error().code == errc::corrupt);
  CHECK_FALSE(f.store.contains(sha256_hex(text)));
  CHECK(w.append(bytes("x")).error().code == errc::failed_precondition);
  CHECK(f.store.begin(what)->size() == 0);
}

TEST_CASE("an upload without a declared checksum gets one, and leaves nothing when it breaks off") {
  fixture f;
  {
    auto w = f.store.begin({}).value();
    REQUIRE(w.append(bytes("half")));
    CHECK(f.parts() == 1);
  }
  CHECK(f.parts() == 0);
  auto w = f.store.begin({}).value();
  REQUIRE(w.append(bytes(text)));
  CHECK(w.seal()->sha256 == sha256_hex(text));
  // The same content again is the same blob.
  auto again = f.store.begin({}).value();
  REQUIRE(again.append(bytes(text)));
  CHECK(again.seal());
  CHECK(f.store.list()->size() == 1);
}

TEST_CASE("a sweep sees blobs and named parts that were left alone, by name") {
  fixture f;
  auto w = f.store.begin({}).value();
  REQUIRE(w.append(bytes(text)));
  const auto whole = w.seal()->sha256;
  const auto half = sha256_hex("half");
  { REQUIRE(f.store.begin({4, half})->append(bytes("ha"))); }
  auto nameless = f.store.begin({}).value();
  REQUIRE(nameless.append(bytes("x")));
  std::vector both{whole, half};
  std::ranges::sort(both);
  CHECK(f.store.names(std::chrono::seconds{0}).value() == both);
  CHECK(f.store.names(std::chrono::hours{1}).value().empty());
  const auto file = f.folder.path() / "artifacts" / "blobs" / whole;
  std::filesystem::last_write_time(
      file, std::filesystem::last_write_time(file) - std::chrono::hours{2});
  CHECK(f.store.names(std::chrono::hours{1}).value() == std::vector{whole});
}

TEST_CASE("what a dead writer left without a name is swept at the next start") {
  fixture f;
  const auto parts = f.folder.path() / "artifacts" / "parts";
  std::ofstream{parts / "new-dead"} << "half";
  std::ofstream{parts / sha256_hex(text)} << "twelve";
  auto living = f.store.begin({}).value();
  REQUIRE(artifact_store::open(f.folder.path() / "artifacts"));
  CHECK(f.parts() == 2);  // the living writer's and the resumable one
  CHECK(f.store.begin(expectation{text.size(), sha256_hex(text)})->size() == 6);
}

TEST_CASE("two transfers of one artifact exclude each other") {
  fixture f;
  const expectation what{text.size(), sha256_hex(text)};
  {
    auto first = f.store.begin(what).value();
    CHECK(f.store.begin(what).error().code == errc::failed_precondition);
  }
  CHECK(f.store.begin(what));
}

TEST_CASE("an artifact that does not fit is refused before its first byte") {
  fixture f;
  const auto space = dlls::base::space_at(f.folder.path()).value();
  expectation what{space.bytes_total + (1u << 30), sha256_hex("large")};
  what.bytes_max = ~0ull >> 1;
  const auto refused = f.store.begin(what);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::storage_full);
  CHECK(f.parts() == 0);
}

TEST_CASE("only a checksum is a name, so no path can be reached") {
  fixture f;
  for (const std::string bad : {"", "../../etc/passwd", "ABCDEF", "abc"}) {
    CHECK(f.store.open_blob(bad).error().code == errc::invalid_argument);
    CHECK(f.store.remove(bad).error().code == errc::invalid_argument);
    CHECK(f.store.begin(expectation{1, bad}).error().code == errc::invalid_argument);
    CHECK_FALSE(f.store.contains(bad));
  }
  CHECK_FALSE(dlls::base::is_sha256(std::string(64, 'A')));
}

TEST_CASE("a blob whose bytes changed on the disk is found out") {
  fixture f;
  const auto a = f.put(text);
  const auto path = f.store.path_of(a.sha256).value();
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0400);
  REQUIRE(::chmod(path.c_str(), 0600) == 0);
  std::ofstream{path} << "twelve bytez";
  CHECK(f.store.verify(a.sha256).error().code == errc::corrupt);
}
