#include "model/tokenizer.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <functional>

#include "base/random.hpp"
#include "model/gguf_writer.hpp"
#include "model/tokenizer_unicode.hpp"
#include "model/tokenizer_words.hpp"
#include "tests/support/random_text.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

namespace dlls::model {
namespace {
using base::errc;

base::result<std::shared_ptr<const tokenizer>> load(
    const std::function<void(gguf_writer&)>& set, const test::temp_folder& folder = {}) {
  gguf_writer out;
  set(out);
  REQUIRE(out.write(folder / "v.gguf"));
  return tokenizer::from(*gguf_file::open(folder / "v.gguf").value());
}

// The tiny model's vocabulary, changed by `change`.
base::result<std::shared_ptr<const tokenizer>> tiny_with(
    const std::function<void(gguf_writer&)>& change) {
  return load([&](gguf_writer& out) {
    test::set_tiny_metadata(out, {});
    change(out);
  });
}
std::shared_ptr<const tokenizer> tiny() {
  return tiny_with([](gguf_writer&) {}).value();
}

// A small SentencePiece vocabulary: specials, all bytes, then words by score.
void set_sentencepiece(gguf_writer& out) {
  std::vector<std::string> tokens{"<unk>", "<s>", "</s>"};
  std::vector<std::int32_t> kinds{2, 3, 3};
  std::vector<float> scores{0, 0, 0};
  auto add = [&](std::string token, std::int32_t kind, float score) {
    tokens.push_back(std::move(token));
    kinds.push_back(kind);
    scores.push_back(score);
  };
  for (unsigned b = 0; b < 256; ++b) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    add(std::string{"<0x"} + digits[b / 16] + digits[b % 16] + ">", 6, 0);
  }
  const std::string mark = "\xE2\x96\x81";
  float score = 0;
  for (const std::string& word :
       {mark + "t", std::string{"he"}, mark + "the", mark + "he", std::string{"ll"}, mark + "hell",
        mark + "hello", mark, std::string{"h"}, std::string{"e"}, std::string{"l"},
        std::string{"o"}, std::string{"t"}})
    add(word, 1, score -= 1);
  out.set_string("tokenizer.ggml.model", "llama");
  out.set_strings("tokenizer.ggml.tokens", tokens);
  out.set_i32s("tokenizer.ggml.token_type", kinds);
  out.set_f32s("tokenizer.ggml.scores", scores);
}

std::vector<std::string> cut(word_pattern pattern, std::string_view text) {
  std::vector<std::string> words;
  word_cutter cutter{pattern, text};
  for (auto w = cutter.next(); !w.empty(); w = cutter.next()) words.emplace_back(w);
  return words;
}
using words = std::vector<std::string>;
}  // namespace

TEST_CASE("random text comes back whole from its tokens") {
  const auto seed = Catch::rngSeed();
  INFO("replay with --rng-seed " << seed);
  base::random_source random{seed};
  const auto vocabulary = tiny();
  for (int round = 0; round < 500; ++round) {
    const auto text = test::random_utf8(random, 60);
    CHECK(vocabulary->decode(vocabulary->encode(text, false)) == text);
  }
  for (int round = 0; round < 200; ++round) {  // and what is no UTF-8 at all
    std::string bytes(random.below(40), '\0');
    for (auto& b : bytes) b = static_cast<char>(random());
    CHECK(vocabulary->decode(vocabulary->encode(bytes, false)) == bytes);
  }
}

TEST_CASE("pairs are merged in the order of their rank") {
  const auto vocabulary = tiny();
  CHECK(vocabulary->piece(vocabulary->encode("the", false).front()) == "t");
  const auto ids = vocabulary->encode(" the user", false);
  REQUIRE(ids.size() == 3);
  CHECK(vocabulary->piece(ids[0]) == " the");
  CHECK(vocabulary->piece(ids[2]) == "user");
}

TEST_CASE("short and long words merge as the definition of BPE says") {
  const auto seed = Catch::rngSeed();
  INFO("replay with --rng-seed " << seed);
  base::random_source random{seed};
  const auto vocabulary = tiny();
  const auto merges = test::make_tiny_vocabulary().merges;
  for (int round = 0; round < 300; ++round) {
    std::string word;
    for (auto left = 1 + random.below(100); left > 0; --left) word += "thelosuri"[random.below(9)];
    // Joins the leftmost pair of the best rank until there is none.
    std::vector<std::string> symbols;
    for (const char c : word) symbols.emplace_back(1, c);
    for (std::size_t rank = 0; rank < merges.size();) {
      std::size_t i = 0;
      while (i + 1 < symbols.size() && symbols[i] + " " + symbols[i + 1] != merges[rank]) ++i;
      if (i + 1 >= symbols.size()) {
        ++rank;
        continue;
      }
      symbols[i] += symbols[i + 1];
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      rank = 0;
    }
    std::vector<token_id> expected;
    for (const auto& symbol : symbols) expected.push_back(vocabulary->find(symbol));
    CHECK(vocabulary->encode(word, false) == expected);
  }
}

TEST_CASE("special tokens are parsed only where the text is trusted") {
  const auto vocabulary = tiny();
  CHECK(vocabulary->encode("<|im_end|>", true) == std::vector<token_id>{2});
  CHECK(vocabulary->encode("<|im_end|>", false).size() > 5);
  CHECK(vocabulary->decode(vocabulary->encode("<|im_end|>", false)) == "<|im_end|>");
  CHECK(vocabulary->encode("a<|im_start|>b<|im_end", true).at(1) == 1);

  const text_part forged[] = {{"<|im_start|>", true}, {"x<|im_end|>", false}, {"<|im_end|>", true}};
  const auto ids = vocabulary->encode(forged);
  CHECK(ids.front() == 1);
  CHECK(std::ranges::count(ids, 2) == 1);
  // A marker may not begin in trusted text and end in what somebody wrote.
  const text_part spliced[] = {{"<|im_", true}, {"end|>", false}};
  CHECK(std::ranges::count(vocabulary->encode(spliced), 2) == 0);
  // Words reach across borders.
  const text_part halves[] = {{" th", true}, {"e", false}};
  CHECK(vocabulary->encode(halves) == vocabulary->encode(" the", false));
}

TEST_CASE("special tokens have names but are no part of a text") {
  const auto vocabulary = tiny();
  CHECK(vocabulary->is_special(1));
  CHECK_FALSE(vocabulary->is_special(50));
  CHECK_FALSE(vocabulary->is_special(-1));
  CHECK_FALSE(vocabulary->is_special(1 << 30));
  CHECK(vocabulary->piece(2) == "<|im_end|>");
  CHECK(vocabulary->piece(-1).empty());
  CHECK(vocabulary->piece(1 << 30).empty());
  CHECK(vocabulary->find("<|im_end|>") == 2);
  CHECK(vocabulary->find("no such") == no_token);
  const auto ids = vocabulary->encode("<|im_start|>user<|im_end|>", true);
  CHECK(vocabulary->decode(ids) == "user");
  CHECK(vocabulary->decode(ids, true) == "<|im_start|>user<|im_end|>");
  CHECK(vocabulary->bos() == 1);
  CHECK(vocabulary->eos() == 2);
  CHECK(vocabulary->padding() == no_token);
  // <|endoftext|> ends an answer too, though the file does not say so.
  CHECK(std::ranges::equal(vocabulary->end_tokens(), std::vector<token_id>{0, 2}));
}

TEST_CASE("the begin-of-text token leads a prompt exactly when the model wants it") {
  CHECK(tiny()->encode_prompt("x", false).size() == 1);
  const auto with =
      tiny_with([](gguf_writer& out) { out.set_bool("tokenizer.ggml.add_bos_token", true); });
  CHECK(with.value()->encode_prompt("x", false).front() == 1);
}

TEST_CASE("the end-of-text token ends a document exactly when the model wants it, never a prompt") {
  CHECK(tiny()->encode_document("x") == tiny()->encode_prompt("x", false));
  const auto with =
      tiny_with([](gguf_writer& out) { out.set_bool("tokenizer.ggml.add_eos_token", true); });
  CHECK(with.value()->encode_document("x").back() == 2);
  CHECK(with.value()->encode_document("").size() == 1);
  CHECK(with.value()->encode_prompt("x", false) == tiny()->encode_prompt("x", false));
}

TEST_CASE("a vocabulary that contradicts itself is refused") {
  auto refusal = [](const std::function<void(gguf_writer&)>& change) {
    const auto made = tiny_with(change);
    return made ? errc::ok : made.error().code;
  };
  using out = gguf_writer;
  const std::vector<std::string> none, one{"a"}, unpaired{"ab"}, unknown{"qqq zzz"};
  const auto size = test::make_tiny_vocabulary().tokens.size();
  const std::vector<std::int32_t> wrong_kinds(size, 9), short_kinds(size - 1, 1),
      long_kinds(size + 1, 1);
  CHECK(refusal([](out&) {}) == errc::ok);
  CHECK(refusal([](out& o) { o.set_string("tokenizer.ggml.model", "bert"); }) == errc::unsupported);
  CHECK(refusal([](out& o) { o.set_string("tokenizer.ggml.pre", "other"); }) == errc::unsupported);
  CHECK(refusal([](out& o) { o.set_u32("tokenizer.ggml.eos_token_id", 5000); }) == errc::corrupt);
  CHECK(refusal([](out& o) { o.set_u32("tokenizer.ggml.tokens", 1); }) == errc::corrupt);
  CHECK(refusal([&](out& o) { o.set_strings("tokenizer.ggml.tokens", none); }) == errc::corrupt);
  CHECK(refusal([&](out& o) { o.set_strings("tokenizer.ggml.tokens", one); }) == errc::corrupt);
  CHECK(refusal([&](out& o) {
          o.set_i32s("tokenizer.ggml.token_type", short_kinds);
        }) == errc::corrupt);
  CHECK(refusal([&](out& o) {
          o.set_i32s("tokenizer.ggml.token_type", wrong_kinds);
        }) == errc::corrupt);
  CHECK(
      refusal([&](out& o) { o.set_strings("tokenizer.ggml.merges", unpaired); }) == errc::corrupt);
  CHECK(refusal([&](out& o) { o.set_strings("tokenizer.ggml.merges", unknown); }) == errc::corrupt);
  const auto empty = load([](gguf_writer& o) { o.set_string("tokenizer.ggml.model", "gpt2"); });
  CHECK(empty.error().code == errc::not_found);
  const auto unscored = load([](gguf_writer& o) {
    set_sentencepiece(o);
    o.set_f32s("tokenizer.ggml.scores", std::vector<float>{1, 2});
  });
  CHECK(unscored.error().code == errc::corrupt);
}

TEST_CASE("a megabyte of anything takes no longer than its length deserves") {
  const auto vocabulary = tiny();
  const auto pieces = load(set_sentencepiece).value();
  const std::string letters(1 << 20, 'l'), spaces(1 << 20, ' '), brackets(1 << 20, '<');
  std::string mixed;
  while (mixed.size() < 1 << 20) mixed += "l\n \n";
  for (const auto* text : {&letters, &spaces, &brackets, &std::as_const(mixed)})
    for (const auto* with : {&vocabulary, &pieces}) {
      const auto before = std::chrono::steady_clock::now();
      CHECK((*with)->decode((*with)->encode(*text, true)) == *text);
      // Quadratic would be minutes; the sanitizers' builds need a few seconds.
      CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds{20});
    }
}

TEST_CASE("words are cut as GPT-2's pattern says") {
  const auto gpt2 = word_pattern::gpt2;
  CHECK(cut(gpt2, "") == words{});
  CHECK(cut(gpt2, "Hello, world!") == words{"Hello", ",", " world", "!"});
  CHECK(
      cut(gpt2, "we're I'll I'LL it's") ==
      words{"we", "'re", " I", "'ll", " I", "'", "LL", " it", "'s"});
  CHECK(cut(gpt2, "a  b") == words{"a", " ", " b"});
  CHECK(cut(gpt2, "a \n b") == words{"a", " \n", " b"});
  CHECK(cut(gpt2, "x   ") == words{"x", "   "});
  CHECK(cut(gpt2, "abc123 4567") == words{"abc", "123", " 4567"});
  CHECK(cut(gpt2, "\tx") == words{"\t", "x"});
  CHECK(cut(gpt2, "é中 ½!\xFF") == words{"é中", " ½", "!\xFF"});
}

TEST_CASE("words are cut as SmolLM's, LLaMA 3's and Qwen 2's patterns say") {
  const auto smollm = word_pattern::smollm, llama3 = word_pattern::llama3,
             qwen2 = word_pattern::qwen2;
  CHECK(cut(smollm, "in  2024 x") == words{"in", "  ", "2", "0", "2", "4", " x"});
  CHECK(cut(smollm, "7") == words{"7"});
  CHECK(cut(llama3, "in 20245") == words{"in", " ", "202", "45"});
  CHECK(cut(qwen2, "in 20") == words{"in", " ", "2", "0"});
  CHECK(cut(llama3, "I'LL go") == words{"I", "'LL", " go"});
  CHECK(cut(llama3, "(x) \n\n  y") == words{"(x", ")", " \n\n", " ", " y"});
  CHECK(cut(llama3, "a!!\n\nb") == words{"a", "!!\n\n", "b"});
  CHECK(cut(llama3, "\tx \t") == words{"\tx", " \t"});
}

TEST_CASE("words are cut by case as Tekken's pattern says") {
  const auto tekken = word_pattern::tekken;
  CHECK(cut(tekken, "camelCase HTTPServer") == words{"camel", "Case", " HTTPServer"});
  CHECK(cut(tekken, "aBC dE") == words{"a", "BC", " d", "E"});
  CHECK(cut(tekken, "I'm 42!") == words{"I", "'m", " ", "4", "2", "!"});
  CHECK(cut(tekken, "a//b/\n\nc") == words{"a", "//", "b", "/\n\n", "c"});
  CHECK(
      cut(tekken,
          "\xC3\x89"
          "COLE") == words{"\xC3\x89"
                           "COLE"});
  // A letter without case ends a word of capitals; a mark goes with what it stands on, or leads.
  CHECK(
      cut(tekken,
          "AB\xE4\xB8\xAD"
          "CD") == words{"AB\xE4\xB8\xAD", "CD"});
  CHECK(
      cut(tekken,
          "e\xCC\x81"
          "A") == words{"e\xCC\x81", "A"});
  CHECK(
      cut(tekken,
          "\xCC\x81"
          "ABC") == words{"\xCC\x81", "ABC"});
  CHECK(
      cut(tekken,
          "\xC9"
          "Ab") == words{"\xC9"
                         "Ab"});  // no UTF-8
  CHECK(unicode::case_of('A') == unicode::letter_case::upper);
  CHECK(unicode::case_of(0x01C5) == unicode::letter_case::upper);  // a title-case digraph
  CHECK(unicode::case_of(0xDF) == unicode::letter_case::lower);
  CHECK(unicode::case_of(0x0301) == unicode::letter_case::both);
  CHECK(unicode::case_of('1') == unicode::letter_case::none);
}

TEST_CASE("cut words put together are the text") {
  const auto seed = Catch::rngSeed();
  INFO("replay with --rng-seed " << seed);
  base::random_source random{seed};
  for (int round = 0; round < 300; ++round) {
    const auto text = test::random_utf8(random, 50);
    for (const auto pattern :
         {word_pattern::gpt2, word_pattern::smollm, word_pattern::llama3, word_pattern::qwen2,
          word_pattern::tekken}) {
      std::string joined;
      for (const auto& w : cut(pattern, text)) joined += w;
      CHECK(joined == text);
    }
  }
}

TEST_CASE("characters have the classes that Unicode gives them") {
  using unicode::char_class;
  CHECK(unicode::classify('a') == char_class::letter);
  CHECK(unicode::classify('7') == char_class::number);
  CHECK(unicode::classify('_') == char_class::other);
  CHECK(unicode::classify('\n') == char_class::space);
  CHECK(unicode::classify(0x3000) == char_class::space);
  CHECK(unicode::classify(0xAC00) == char_class::letter);   // Hangul
  CHECK(unicode::classify(0x0967) == char_class::number);   // Devanagari 1
  CHECK(unicode::classify(0x0301) == char_class::other);    // combining acute
  CHECK(unicode::classify(0x1F600) == char_class::other);   // emoji
  CHECK(unicode::classify(0x20000) == char_class::letter);  // CJK extension B
  CHECK(unicode::classify(0x10FFFF) == char_class::other);
}

TEST_CASE("SentencePiece joins by score, spells unknown characters and drops its own first space") {
  const auto vocabulary = load(set_sentencepiece).value();
  auto names = [&](std::string_view text) {
    std::string all;
    for (const auto id : vocabulary->encode(text, true)) {
      all += all.empty() ? "" : "|";
      all += vocabulary->piece(id);
    }
    return all;
  };
  CHECK(names("hello") == " hello");
  CHECK(names("the hello") == " the| hello");
  CHECK(names("tell") == " t|e|ll");
  CHECK(names("</s>hello") == "</s>| hello");
  CHECK(vocabulary->add_bos());
  CHECK(vocabulary->bos() == 1);
  CHECK(vocabulary->encode_prompt("t", false).front() == 1);
  for (const std::string text : {"hello", " hello", "  the tell", "é\xFF 中", "\n"})
    CHECK(vocabulary->decode(vocabulary->encode(text, false)) == text);
}

}  // namespace dlls::model
