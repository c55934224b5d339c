// The calls in an answer, taken out of it as it comes.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/chat_tools.hpp"

namespace dlls::model {

// A part of an answer in OpenAI's shape.
struct tool_answer {
  std::string content;           // what is no call
  std::vector<tool_call> calls;  // each whole
};

// One answer's. A text without calls comes out as it went in, to the byte, whatever it is; beside
// calls, blanks at the ends of the content are left out. What does not parse as a call is content.
//
// Between a family's markers (hermes, smollm) a call goes out when its block closes, and content
// at once. A call without markers (they may be special tokens, which a decoded text lacks) counts
// only when it names a tool that was offered and nothing stands around it: such an answer is held
// back to its end once it begins like a call.
//
// A value; one thread at a time.
class tool_call_reader {
 public:
  tool_call_reader(tool_form form, std::span<const chat_tool> offered);

  // What this much more of the answer settles.
  tool_answer add(std::string_view text);
  // The rest; nothing may be added afterwards.
  tool_answer finish();

 private:
  bool names(const std::vector<tool_call>& calls) const;
  void take_blocks(tool_answer& out, bool last);
  bool take_block(tool_answer& out, bool last);
  bool begins_like_a_call() const;
  void take_free(tool_answer& out);
  void take_whole(tool_answer& out);
  void say(std::string_view text, tool_answer& out);
  void call(std::vector<tool_call> some, tool_answer& out);

  tool_form form_;
  std::vector<std::string> offered_;  // names
  std::string held_;                  // not settled yet
  std::string blanks_;                // content that is left out if it turns out to be an end
  bool said_ = false, called_ = false;
};

// A whole answer at once.
tool_answer parse_tool_calls(
    tool_form form, std::string_view text, std::span<const chat_tool> offered);

}  // namespace dlls::model
