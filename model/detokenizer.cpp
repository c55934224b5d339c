#include "model/detokenizer.hpp"

#include <utility>

#include "model/tokenizer_unicode.hpp"

namespace dlls::model {
namespace {
constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD
}

std::string take_complete_utf8(std::string& pending) {
  std::string text;
  std::string_view rest = pending;
  while (!rest.empty()) {
    const auto first = unicode::first_of(rest);
    if (first.state == unicode::utf8_prefix::incomplete) break;
    text +=
        first.state == unicode::utf8_prefix::complete ? rest.substr(0, first.bytes) : replacement;
    rest.remove_prefix(first.bytes);
  }
  pending.erase(0, pending.size() - rest.size());
  return text;
}

detokenizer::detokenizer(std::shared_ptr<const tokenizer> vocabulary)
    : tokenizer_(std::move(vocabulary)) {}

std::string detokenizer::add(token_id id) {
  if (tokenizer_->is_special(id)) return {};
  pending_ += tokenizer_->piece(id);
  return take_complete_utf8(pending_);
}

std::string detokenizer::finish() {
  return std::exchange(pending_, {}).empty() ? std::string{} : std::string{replacement};
}

}  // namespace dlls::model
