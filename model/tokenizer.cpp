#include "model/tokenizer.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.hpp"

#include "model/tokenizer_parts.hpp"

namespace dlls::model {

void special_finder::add(std::string_view name, token_id id, bool always) {
  if (name.empty()) return;
  entries_.push_back({name, id, always});
  starts_[static_cast<unsigned char>(name.front())] = true;
}

void special_finder::finish() { std::ranges::stable_sort(entries_, {}, &entry::name); }

special_finder::match special_finder::longest(
    std::string_view text, std::size_t trusted_bytes) const noexcept {
  match best;
  if (text.empty() || !starts_[static_cast<unsigned char>(text.front())]) return best;
  // Narrows the names that agree with the text, one byte at a time.
  auto low = entries_.begin(), high = entries_.end();
  for (std::size_t k = 0; k < text.size() && low != high; ++k) {
    const auto byte = [k](const entry& e) {
      return k < e.name.size() ? static_cast<unsigned char>(e.name[k]) : -1;
    };
    const int want = static_cast<unsigned char>(text[k]);
    low = std::ranges::lower_bound(low, high, want, {}, byte);
    high = std::ranges::upper_bound(low, high, want, {}, byte);
    // The name that ends here, if any, sorts first among those that agree.
    if (low != high && low->name.size() == k + 1 && (low->always || k < trusted_bytes))
      best = {k + 1, low->id};
  }
  return best;
}

tokenizer::tokenizer(std::unique_ptr<const parts> made) noexcept : parts_(std::move(made)) {}
tokenizer::~tokenizer() = default;

std::vector<token_id> tokenizer::encode(std::string_view text, bool parse_special) const {
  const text_part whole{std::string{text}, parse_special};
  return encode({&whole, 1});
}

std::vector<token_id> tokenizer::encode(std::span<const text_part> parts) const {
  std::string joined;
  for (const auto& p : parts) joined += p.text;
  const std::string_view text = joined;
  base::check(text.size() < std::numeric_limits<std::int32_t>::max(), "a text is below 2 GiB");

  std::vector<token_id> ids;
  std::size_t plain_from = 0;  // what lies before was encoded
  bool fresh = true;
  auto flush = [&](std::size_t to) {
    if (to == plain_from) return;
    parts_->encoder->encode(text.substr(plain_from, to - plain_from), fresh, ids);
    fresh = false;
  };
  std::size_t at = 0, part_end = 0;
  for (const auto& p : parts) {
    part_end += p.text.size();
    while (at < part_end) {
      const auto trusted = p.parse_special ? part_end - at : 0;
      const auto found = parts_->specials.longest(text.substr(at), trusted);
      if (found.bytes == 0) {
        ++at;
        continue;
      }
      flush(at);
      ids.push_back(found.id);
      fresh = true;
      plain_from = at += found.bytes;
    }
  }
  flush(text.size());
  return ids;
}

std::vector<token_id> tokenizer::encode_prompt(std::string_view text, bool parse_special) const {
  const text_part whole{std::string{text}, parse_special};
  return encode_prompt({&whole, 1});
}

std::vector<token_id> tokenizer::encode_prompt(std::span<const text_part> parts) const {
  auto ids = encode(parts);
  if (parts_->add_bos && parts_->bos != no_token) ids.insert(ids.begin(), parts_->bos);
  return ids;
}

std::vector<token_id> tokenizer::encode_document(std::string_view text) const {
  auto ids = encode_prompt(text, false);
  if (parts_->add_eos && parts_->eos != no_token) ids.push_back(parts_->eos);
  return ids;
}

std::string tokenizer::decode(std::span<const token_id> ids, bool with_special) const {
  std::string text;
  bool fresh = parts_->encoder->adds_space();
  for (const auto id : ids) {
    if (is_special(id)) {
      if (with_special) text += piece(id);
      fresh = parts_->encoder->adds_space();
      continue;
    }
    auto bytes = piece(id);
    if (std::exchange(fresh, false) && bytes.starts_with(' ')) bytes.remove_prefix(1);
    text += bytes;
  }
  return text;
}

std::string_view tokenizer::piece(token_id id) const noexcept {
  const auto& pieces = parts_->pieces;
  return static_cast<std::size_t>(id) < pieces.size() && id >= 0 ? pieces[id] : std::string_view{};
}

bool tokenizer::is_special(token_id id) const noexcept {
  const auto& kinds = parts_->tokens.kinds;
  return id >= 0 && static_cast<std::size_t>(id) < kinds.size() &&
         (kinds[id] == token_kind::control || kinds[id] == token_kind::unknown);
}

token_id tokenizer::find(std::string_view name) const noexcept { return parts_->tokens.find(name); }
token_id tokenizer::bos() const noexcept { return parts_->bos; }
token_id tokenizer::eos() const noexcept { return parts_->eos; }
token_id tokenizer::unknown() const noexcept { return parts_->unknown; }
token_id tokenizer::padding() const noexcept { return parts_->padding; }
std::span<const token_id> tokenizer::end_tokens() const noexcept { return parts_->end_tokens; }
bool tokenizer::is_end(token_id id) const noexcept {
  return std::ranges::binary_search(parts_->end_tokens, id);
}
bool tokenizer::add_bos() const noexcept { return parts_->add_bos; }
std::size_t tokenizer::vocab_size() const noexcept { return parts_->tokens.size(); }

}  // namespace dlls::model
