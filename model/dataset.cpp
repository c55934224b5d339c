#include "model/dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/encoding.hpp"
#include "base/file.hpp"
#include "base/limits.hpp"
#include "base/sha256.hpp"
#include "kernels/training.hpp"

namespace dlls::model {
namespace {

namespace json = boost::json;
using kernels::no_target;

base::error invalid(std::string message) {
  return {base::errc::invalid_argument, std::move(message)};
}

struct conversation {
  std::vector<chat_message> messages;
  std::vector<bool> counts;  // in the loss
};

base::result<conversation> read_conversation(std::string_view line) {
  json::error_code ec;
  const auto parsed = json::parse(line, ec);
  if (ec) return invalid(fmt::format("no JSON ({})", ec.message()));
  const auto* object = parsed.if_object();
  if (!object) return invalid("no JSON object");
  const auto* found = object->if_contains("messages");
  const auto* list = found ? found->if_array() : nullptr;
  if (!list || list->empty()) return invalid("no array \"messages\" with something in it");
  conversation c;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const auto* message = (*list)[i].if_object();
    if (!message) return invalid(fmt::format("message {} is no object", i + 1));
    const auto* role = message->if_contains("role");
    const auto* content = message->if_contains("content");
    if (!role || !role->is_string())
      return invalid(fmt::format("message {} has no string \"role\"", i + 1));
    if (!content || !content->is_string())
      return invalid(fmt::format("message {} has no string \"content\"", i + 1));
    bool counts = role->as_string() == "assistant";
    if (const auto* weight = message->if_contains("weight")) {
      if (!weight->is_number() ||
          (weight->to_number<double>() != 0 && weight->to_number<double>() != 1))
        return invalid(fmt::format("message {} has a \"weight\" that is neither 0 nor 1", i + 1));
      counts = counts && weight->to_number<double>() == 1;
    }
    c.messages.emplace_back(std::string(role->as_string()), std::string(content->as_string()));
    c.counts.push_back(counts);
  }
  if (std::ranges::find(c.counts, true) == c.counts.end())
    return invalid("no assistant message that counts");
  return c;
}

// What follows the first `bytes` bytes, which must be `opening`'s; a part may be cut in two.
base::result<std::vector<text_part>> after(
    std::span<const text_part> whole, std::span<const text_part> opening) {
  std::string a, b;
  for (const auto& p : whole) a += p.text;
  for (const auto& p : opening) b += p.text;
  if (!a.starts_with(b))
    return base::error{
        base::errc::unsupported,
        "this model's chat template has no opening of an answer to train at"};
  std::size_t skip = b.size();
  std::vector<text_part> rest;
  for (const auto& p : whole) {
    const std::size_t cut = std::min(skip, p.text.size());
    skip -= cut;
    if (cut < p.text.size()) rest.push_back({p.text.substr(cut), p.parse_special});
  }
  return rest;
}

// Ids so far and which of them count, grown turn by turn. Each piece's ids are those it gets with
// everything before it in view, unless a word reaches over the border: inference cuts there.
struct labelled_ids {
  const tokenizer& vocabulary;
  std::vector<token_id> ids;
  std::vector<bool> counts;

  std::vector<token_id> extend(
      std::span<const text_part> all, std::span<const text_part> piece) const {
    auto whole = vocabulary.encode_prompt(all);
    if (whole.size() >= ids.size() && std::equal(ids.begin(), ids.end(), whole.begin()))
      return whole;
    whole = ids;
    const auto added = vocabulary.encode(piece);
    whole.insert(whole.end(), added.begin(), added.end());
    return whole;
  }
  void add(std::vector<token_id> grown, bool in_loss) {
    std::size_t end = grown.size();  // the turn ends with its last special token, if it has one
    for (std::size_t i = grown.size(); in_loss && i-- > ids.size();)
      if (vocabulary.is_special(grown[i])) {
        end = i + 1;
        break;
      }
    for (std::size_t i = ids.size(); i < grown.size(); ++i) counts.push_back(in_loss && i < end);
    ids = std::move(grown);
  }
};

// Predicting from the last counted target on teaches nothing: the tail is cut.
training_example shifted(const std::vector<token_id>& ids, const std::vector<bool>& counts) {
  training_example e;
  std::size_t last = ids.size();
  while (last > 1 && !counts[last - 1]) --last;
  e.inputs.assign(ids.begin(), ids.begin() + std::ptrdiff_t(last - 1));
  for (std::size_t i = 1; i < last; ++i) e.targets.push_back(counts[i] ? ids[i] : no_target);
  return e;
}

base::result<training_example> example_of(
    const conversation& c, const tokenizer& vocabulary, const chat_template& how,
    std::uint32_t context) {
  labelled_ids so_far{vocabulary, {}, {}};
  std::vector<text_part> reached;
  for (std::size_t i = 0; i < c.messages.size(); ++i) {
    if (!c.counts[i]) continue;
    const std::span all(c.messages);
    const auto opening = how.parts(all.first(i), true);
    if (!opening) return opening.error();
    const auto closing = how.parts(all.first(i + 1), false);
    if (!closing) return closing.error();
    const auto before = after(*opening, reached);
    if (!before) return before.error();
    so_far.add(so_far.extend(*opening, *before), false);
    const auto answer = after(*closing, *opening);
    if (!answer) return answer.error();
    so_far.add(so_far.extend(*closing, *answer), true);
    reached = *closing;
    if (so_far.ids.size() > context)
      return invalid(
          fmt::format("more than {} tokens, where the context has {}", so_far.ids.size(), context));
  }
  return shifted(so_far.ids, so_far.counts);
}

}  // namespace

std::uint64_t dataset::tokens() const noexcept {
  std::uint64_t n = 0;
  for (const auto& e : examples) n += e.inputs.size();
  return n;
}

std::uint64_t dataset::counted_targets() const noexcept {
  std::uint64_t n = 0;
  for (const auto& e : examples)
    n += std::uint64_t(std::ranges::count_if(e.targets, [](auto t) { return t != no_target; }));
  return n;
}

base::result<dataset> parse_chat_jsonl(
    std::string_view content, const tokenizer& vocabulary, const chat_template& how,
    std::uint32_t context) {
  dataset made;
  made.sha256 = base::sha256_hex(content);
  std::size_t number = 0;
  while (!content.empty()) {
    ++number;
    const auto end = std::min(content.find('\n'), content.size());
    const auto line = content.substr(0, end);
    content.remove_prefix(std::min(end + 1, content.size()));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const auto named = [&](const base::error& e) {
      return base::error{e.code, fmt::format("line {}: {}", number, e.message), e.hint};
    };
    const auto read = read_conversation(line);
    if (!read) return named(read.error());
    auto example = example_of(*read, vocabulary, how, context);
    if (!example) return named(example.error());
    made.examples.push_back(std::move(*example));
  }
  if (made.examples.empty()) return invalid("the training file has no conversation");
  return made;
}

base::result<dataset> load_chat_jsonl(
    const std::filesystem::path& path, const tokenizer& vocabulary, const chat_template& how,
    std::uint32_t context) {
  const auto content = base::read_file(path, base::limits::file_bytes_max);
  if (!content) return content.error();
  return parse_chat_jsonl(*content, vocabulary, how, context);
}

base::result<dataset> parse_text(
    std::string_view content, const tokenizer& vocabulary, std::uint32_t context) {
  if (context == 0) return invalid("a context of no tokens");
  if (!base::is_utf8(content)) return invalid("the training text is no UTF-8");
  dataset made;
  made.sha256 = base::sha256_hex(content);
  const auto ids = vocabulary.encode_prompt(content, false);
  if (ids.size() < 2) return invalid("the training text has fewer than two tokens");
  for (std::size_t at = 0; at + 1 < ids.size(); at += context) {
    const auto n = std::ptrdiff_t(std::min<std::size_t>(context, ids.size() - 1 - at));
    const auto first = ids.begin() + std::ptrdiff_t(at);
    made.examples.push_back({{first, first + n}, {first + 1, first + 1 + n}});
  }
  return made;
}

base::result<dataset> load_text(
    const std::filesystem::path& path, const tokenizer& vocabulary, std::uint32_t context) {
  const auto content = base::read_file(path, base::limits::file_bytes_max);
  if (!content) return content.error();
  return parse_text(*content, vocabulary, context);
}

}  // namespace dlls::model
