// Training runs on tiny models: they learn, they resume to the same bits, and what can go wrong
// gives one clear error.
#include "model/trainer.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <fstream>

#include "base/file.hpp"
#include "base/sha256.hpp"
#include "kernels/training.hpp"
#include "model/generate.hpp"
#include "model/llama.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

namespace dlls::model {
namespace {
using base::errc;
namespace fs = std::filesystem;

constexpr std::string_view chats =
    R"({"messages":[{"role":"user","content":"who"},{"role":"assistant","content":"the user"}]})"
    "\n"
    R"({"messages":[{"role":"user","content":"what"},{"role":"assistant","content":"a list"}]})"
    "\n"
    R"({"messages":[{"role":"user","content":"where"},{"role":"assistant","content":"in hand"}]})"
    "\n";

// A model file, its text, and a folder for everything.
struct workshop {
  explicit workshop(const test::tiny_model_options& o = {}) {
    REQUIRE(test::write_tiny_model(folder / "base.gguf", o));
    base = *gguf_file::open(folder / "base.gguf");
    vocabulary = *tokenizer::from(*base);
    how = std::make_unique<chat_template>(*chat_template::from(*base));
  }
  dataset chat() const { return *parse_chat_jsonl(chats, *vocabulary, *how, 128); }
  base::result<trainer> start(const training_spec& spec, const fs::path& checkpoints = {}) {
    return trainer::create(base, chat(), spec, pool, checkpoints);
  }
  std::string exported(const trainer& t) {
    REQUIRE(t.export_gguf(folder / "out.gguf", "trained"));
    return *base::sha256_file(folder / "out.gguf");
  }
  test::temp_folder folder;
  kernels::thread_pool pool{2};
  std::shared_ptr<const gguf_file> base;
  std::shared_ptr<const tokenizer> vocabulary;
  std::unique_ptr<chat_template> how;
};

training_spec quick() {
  training_spec s;
  s.epochs = 4, s.batch_rows = 2, s.learning_rate = 3e-3, s.seed = 7;
  s.micro_batch_tokens = 30;  // several pieces a step
  return s;
}

// Steps until done or `steps` more.
void go(trainer& t, std::uint64_t steps = 1000) {
  for (; steps > 0 && !t.done(); --steps) REQUIRE(t.step());
}

std::vector<fs::path> checkpoints_in(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& e : fs::directory_iterator(folder))
    if (e.is_directory()) found.push_back(e.path());
  std::sort(found.begin(), found.end());
  return found;
}

void damage(const fs::path& path, bool cut) {
  const auto size = fs::file_size(path);
  if (cut) return fs::resize_file(path, size / 2);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(std::streamoff(size / 3));
  const char old = char(file.get());
  file.seekp(std::streamoff(size / 3));
  file.put(char(old ^ 1));
}

std::string answer(const workshop& w, const fs::path& model, const std::string& question) {
  const auto file = gguf_file::open(model);
  REQUIRE(file);
  const auto loaded = llama::load(*file, activations::f32);
  REQUIRE(loaded);
  generation_request ask;
  const std::vector<chat_message> messages{{"user", question}};
  ask.prompt = *encode_chat(*w.vocabulary, *w.how, messages);
  ask.max_tokens = 12, ask.how.temperature = 0;
  auto g = generation::start(*loaded, w.vocabulary, ask);
  REQUIRE(g);
  kernels::thread_pool pool(2);
  std::string text;
  while (!g->finished())
    if (const auto delta = g->step(pool)) text += delta->text;
  return text;
}

}  // namespace

TEST_CASE("a fine-tuned model gives the trained answers, from its exported file") {
  workshop w;
  auto spec = quick();
  spec.epochs = 400, spec.batch_rows = 0, spec.target_loss = 0.02;
  auto t = w.start(spec);
  REQUIRE(t);
  const auto first = t->step();
  REQUIRE(first);
  CHECK(first->step == 1);
  CHECK(first->steps_total == 400);
  CHECK(first->tokens_seen == w.chat().tokens());
  CHECK(first->learning_rate == spec.learning_rate);
  go(*t);
  CHECK(t->steps_done() < 400);  // target_loss ended it
  REQUIRE(t->export_gguf(w.folder / "tuned.gguf", "tuned"));
  CHECK(answer(w, w.folder / "tuned.gguf", "who") == "the user");
  CHECK(answer(w, w.folder / "tuned.gguf", "what") == "a list");
  CHECK(answer(w, w.folder / "tuned.gguf", "where") == "in hand");
  CHECK(answer(w, w.folder / "base.gguf", "who") != "the user");
}

TEST_CASE("an exported file keeps the base's tokenizer and chat template under its own name") {
  workshop w({.type = tensor_type::q8_0, .tied = false});
  auto t = w.start(quick());
  REQUIRE(t);
  go(*t, 1);
  REQUIRE(t->export_gguf(w.folder / "out.gguf", "my-model"));
  const auto out = gguf_file::open(w.folder / "out.gguf");
  REQUIRE(out);
  CHECK(*(*out)->get_string("general.name") == "my-model");
  for (const auto key : w.base->keys()) {
    if (key == "general.name" || key == "general.file_type") continue;
    INFO(key);
    const auto was = w.base->get_raw(key), is = (*out)->get_raw(key);
    REQUIRE(is);
    CHECK(std::ranges::equal(was->bytes, is->bytes));
  }
  CHECK((*out)->find("output.weight")->type == tensor_type::f16);
  CHECK((*out)->find("output_norm.weight")->type == tensor_type::f32);
  CHECK((*out)->tensors().size() == w.base->tensors().size());
  CHECK(*read_llama_config(**out) == *read_llama_config(*w.base));
}

TEST_CASE("a model trained from nothing learns a short text") {
  workshop w;
  std::string text;
  for (int i = 0; i < 30; ++i) text += "the user and the list are in the hand; ";
  auto spec = quick();
  spec.kind = "pretrain", spec.epochs = 12, spec.batch_rows = 4, spec.context = 16;
  spec.schedule = rate_schedule::cosine, spec.warmup_ratio = 0.1, spec.weight_decay = 0.1;
  spec.shape = {.dim = 32, .layers = 2, .heads = 4, .kv_heads = 2, .ff = 64};
  spec.micro_batch_tokens = 64;
  auto t = trainer::create(w.base, *parse_text(text, *w.vocabulary, 16), spec, w.pool);
  REQUIRE(t);
  const double before = t->step()->loss;
  double after = before;
  while (!t->done()) after = t->step()->loss;
  INFO("loss " << before << " -> " << after);
  CHECK(before == Approx(std::log(double(w.vocabulary->vocab_size()))).epsilon(0.05));
  CHECK(after < before / 3);
  REQUIRE(t->export_gguf(w.folder / "new.gguf", "new"));
  const auto file = gguf_file::open(w.folder / "new.gguf");
  REQUIRE(file);
  const auto loaded = llama::load(*file);
  REQUIRE(loaded);
  CHECK((*loaded)->config().heads == 4);
  CHECK((*loaded)->config().kv_heads == 2);
  CHECK((*loaded)->config().tied);
}

TEST_CASE("a run resumed at any step ends with the bits of an unbroken one") {
  workshop w;
  auto unbroken = w.start(quick());
  REQUIRE(unbroken);
  go(*unbroken);
  const auto wanted = w.exported(*unbroken);
  const auto tokens = unbroken->steps_total();
  for (std::uint64_t stop = 1; stop < tokens; ++stop) {
    INFO("stopped after step " << stop);
    const auto folder = w.folder / ("ck" + std::to_string(stop));
    {
      auto t = w.start(quick(), folder);
      REQUIRE(t);
      go(*t, stop);
      REQUIRE(t->save_checkpoint());
      go(*t, 1);  // lost with the process
    }
    auto t = w.start(quick(), folder);
    REQUIRE(t);
    CHECK(t->steps_done() == stop);
    go(*t);
    CHECK(w.exported(*t) == wanted);
  }
}

TEST_CASE("a resumed run meets its target loss in the same epoch") {
  workshop w;
  auto spec = quick();
  spec.epochs = 300, spec.target_loss = 1.0;
  auto unbroken = w.start(spec);
  REQUIRE(unbroken);
  go(*unbroken);
  const auto ended = unbroken->steps_done();
  REQUIRE(ended < unbroken->steps_total());
  REQUIRE(ended > 3);
  // In the middle of the last epoch, and of the one before: half its loss must not pass for all.
  for (const auto stop : {ended - 3, ended - 1, ended}) {
    const auto folder = w.folder / ("ck" + std::to_string(stop));
    {
      auto t = w.start(spec, folder);
      go(*t, stop);
      REQUIRE(t->save_checkpoint());
    }
    auto t = w.start(spec, folder);
    REQUIRE(t);
    CHECK(t->done() == (stop == ended));
    go(*t);
    CHECK(t->steps_done() == ended);
  }
}

TEST_CASE("a broken checkpoint is passed over for the one before, whichever file is broken") {
  workshop w;
  for (const std::string name : {"weights.f32", "moment1.f32", "moment2.f32", "manifest"})
    for (const bool cut : {false, true}) {
      INFO(name << (cut ? " cut" : " flipped"));
      const auto folder = w.folder / (name + (cut ? "-cut" : "-flip"));
      std::string wanted;
      {
        auto t = w.start(quick(), folder);
        REQUIRE(t);
        for (int i = 0; i < 3; ++i) {
          go(*t, 1);
          REQUIRE(t->save_checkpoint());
        }
        go(*t);
        wanted = w.exported(*t);
      }
      const auto kept = checkpoints_in(folder);
      REQUIRE(kept.size() == 2);
      damage(kept[1] / name, cut);
      auto t = w.start(quick(), folder);
      REQUIRE(t);
      CHECK(t->steps_done() == 2);
      go(*t);
      CHECK(w.exported(*t) == wanted);
      damage(kept[0] / name, cut);  // both: from the beginning, and to the same end
      auto again = w.start(quick(), folder);
      REQUIRE(again);
      CHECK(again->steps_done() == 0);
      go(*again);
      CHECK(w.exported(*again) == wanted);
      REQUIRE(again->save_checkpoint());
    }
}

TEST_CASE("a manifest that still reads well but was changed is not believed") {
  workshop w;
  const auto folder = w.folder / "ck";
  {
    auto t = w.start(quick(), folder);
    REQUIRE(t);
    go(*t, 2);
    REQUIRE(t->save_checkpoint());
  }
  const auto path = checkpoints_in(folder)[0] / "manifest";
  auto content = *base::read_file(path);
  const auto at = content.find("\"step\":2");
  REQUIRE(at != content.npos);
  content[at + 7] = '7';
  REQUIRE(base::write_file_durably(path, content));
  auto t = w.start(quick(), folder);
  REQUIRE(t);
  CHECK(t->steps_done() == 0);
}

TEST_CASE("what an interrupted write left is cleared, and LATEST may be missing") {
  workshop w;
  const auto folder = w.folder / "ck";
  {
    auto t = w.start(quick(), folder);
    go(*t, 2);
    REQUIRE(t->save_checkpoint());
  }
  fs::create_directories(folder / "step-000000000003.tmp");
  fs::remove(folder / "LATEST");
  auto t = w.start(quick(), folder);
  REQUIRE(t);
  CHECK(t->steps_done() == 2);
  CHECK(!fs::exists(folder / "step-000000000003.tmp"));
}

TEST_CASE("a checkpoint of another data set, spec or base model is refused") {
  workshop w, other({.seed = 99});
  const auto folder = w.folder / "ck";
  {
    auto t = w.start(quick(), folder);
    go(*t, 1);
    REQUIRE(t->save_checkpoint());
  }
  const auto refused = [&](const base::result<trainer>& r, const char* what) {
    REQUIRE(!r);
    CHECK(r.error().code == errc::failed_precondition);
    CHECK_THAT(r.error().message, Catch::Contains(what));
  };
  auto spec = quick();
  spec.learning_rate *= 2;
  refused(w.start(spec, folder), "spec");
  auto data = *parse_chat_jsonl(std::string(chats) + "\n", *w.vocabulary, *w.how, 128);
  refused(trainer::create(w.base, data, quick(), w.pool, folder), "data set");
  refused(other.start(quick(), folder), "base model");
}

TEST_CASE("a checkpoint that cannot be written leaves the run and the older one alone") {
  workshop w;
  const auto folder = w.folder / "ck", aside = w.folder / "aside";
  auto t = w.start(quick(), folder);
  REQUIRE(t);
  go(*t, 1);
  REQUIRE(t->save_checkpoint());
  fs::rename(folder, aside);
  std::ofstream(folder) << "a file in the way";
  go(*t, 1);
  const auto refused = t->save_checkpoint();
  REQUIRE(!refused);
  CHECK(refused.error().code == errc::io);
  fs::remove(folder);
  fs::rename(aside, folder);
  REQUIRE(t->save_checkpoint());
  CHECK(checkpoints_in(folder).size() == 2);
  go(*t);
  CHECK(t->done());
}

TEST_CASE("without a folder there is nothing to save a checkpoint to") {
  workshop w;
  auto t = w.start(quick());
  REQUIRE(t);
  CHECK(t->save_checkpoint().error().code == errc::failed_precondition);
}

TEST_CASE("a loss that is no number ends the run, says what to do, and counts no step") {
  workshop w;
  auto bytes = *base::read_file(w.folder / "base.gguf");
  const auto& embedding = *w.base->find("token_embd.weight");
  const auto whole = std::as_bytes(std::span(bytes));
  const auto at =
      std::search(whole.begin(), whole.end(), embedding.data.begin(), embedding.data.begin() + 256);
  const float bad = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data() + (at - whole.begin()) + 4 * 32 * 4, &bad, sizeof bad);
  REQUIRE(base::write_file_durably(w.folder / "bad.gguf", bytes));
  w.base = *gguf_file::open(w.folder / "bad.gguf");
  auto t = w.start(quick());
  REQUIRE(t);
  const auto last = t->step();
  REQUIRE(!last);
  CHECK(last.error().code == errc::failed_precondition);
  CHECK_THAT(last.error().text(), Catch::Contains("learning rate"));
  CHECK(t->steps_done() == 0);
  const auto refused = t->export_gguf(w.folder / "out.gguf", "out");
  REQUIRE(!refused);
  CHECK_THAT(refused.error().message, Catch::Contains("token_embd.weight"));
}

TEST_CASE("data that does not fit the model is refused before any work") {
  workshop w;
  const auto refused = [&](dataset data, const char* why) {
    const auto t = trainer::create(w.base, std::move(data), quick(), w.pool);
    REQUIRE(!t);
    CHECK(t.error().code == errc::invalid_argument);
    CHECK_THAT(t.error().message, Catch::Contains(why));
  };
  refused({}, "empty");
  refused({{{{5}, {100000}}}, ""}, "vocabulary");
  refused({{{{-1}, {5}}}, ""}, "vocabulary");
  refused({{{{1, 2}, {5}}}, ""}, "unequal");
  refused({{{{1}, {kernels::no_target}}}, ""}, "no target");
  refused({{{std::vector<token_id>(200, 1), std::vector<token_id>(200, 1)}}, ""}, "context");
}

TEST_CASE("a training spec survives JSON, and a bad field is named") {
  auto spec = quick();
  spec.schedule = rate_schedule::cosine, spec.target_loss = 0.1, spec.seed = ~0ULL;
  spec.shape.tied = false, spec.learning_rate = 1.0 / 3.0;
  const auto back = parse_training_spec(to_json(spec));
  REQUIRE(back);
  CHECK(to_json(*back) == to_json(spec));
  CHECK(back->learning_rate == spec.learning_rate);
  CHECK(parse_training_spec("{}"));
  const auto refused = [](const char* text, const char* field) {
    const auto r = parse_training_spec(text);
    REQUIRE(!r);
    CHECK(r.error().code == errc::invalid_argument);
    CHECK_THAT(r.error().message, Catch::Contains(field));
  };
  refused(R"({"epochs":0})", "epochs");
  refused(R"({"epochs":-1})", "epochs");
  refused(R"({"epochs":1.5})", "epochs");
  refused(R"({"epochs":99999999999})", "epochs");
  refused(R"({"learning_rate":"x"})", "learning_rate");
  refused(R"({"learning_rate":0})", "learning_rate");
  refused(R"({"schedule":"linear"})", "schedule");
  refused(R"({"kind":"dream"})", "kind");
  refused(R"({"speed":1})", "speed");
  refused(R"({"shape":{"dim":30,"heads":4}})", "shape.heads");
  refused(R"({"shape":{"depth":3}})", "depth");
  refused("[]", "object");
}

}  // namespace dlls::model
