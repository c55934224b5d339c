// Token ids to text while they come: whole characters only.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "model/token.hpp"
#include "model/tokenizer.hpp"

namespace dlls::model {

// A character may span several tokens; a stream must never show half of one. add() gives the text
// that is certain by now, always well-formed UTF-8: incomplete bytes at the end wait for the next
// token, and bytes that can't become a character turn into U+FFFD (one for each maximal part, as
// the Unicode standard, section 3.9, recommends). Special tokens give no text.
// One stream, one thread at a time.
class detokenizer {
 public:
  explicit detokenizer(std::shared_ptr<const tokenizer> vocabulary);

  std::string add(token_id id);
  // The end of the stream: an incomplete character becomes U+FFFD. Ready for a new stream then.
  std::string finish();

 private:
  std::shared_ptr<const tokenizer> tokenizer_;
  std::string pending_;  // 0 to 3 bytes: a character's beginning
};

// Moves the complete characters at the front of `pending` out, replacing what is ill-formed; keeps
// an incomplete end of at most 3 bytes.
std::string take_complete_utf8(std::string& pending);

}  // namespace dlls::model
