// Reads a text byte by byte and knows whether a grammar allows it so far (Earley 1970). It can go
// back: that is how all tokens of a vocabulary are tried without a copy.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "model/grammar.hpp"

namespace dlls::model {

// Where nesting shows in the text itself, as in JSON, it holds as many places as there are states
// at most; what nobody can return to any more is forgotten by commit(). There are bounds all the
// same, for grammars that are ambiguous on purpose: a text that needs more places than those is
// refused, and no text is accepted that the grammar refuses. One thread at a time.
class grammar_matcher {
 public:
  static constexpr std::size_t places_max = 4096;
  static constexpr std::size_t alike_max = 32;  // of one state
  // Where a reading stands: a state, and the call that its rule's end returns from.
  struct place {
    grammar_state state;
    std::uint32_t in;     // 0: the outermost rule
    std::uint32_t alike;  // another place with this state, before it; internal
  };

  // Before the first byte, in a rule of its own: the grammar's start, or `at`.
  explicit grammar_matcher(std::shared_ptr<const grammar> of);
  grammar_matcher(std::shared_ptr<const grammar> of, grammar_state at);

  // One more byte. False, and nothing has changed: none that may come here.
  bool push(std::uint8_t byte);
  // From here on only what follows the end of the rule that `place::in` names.
  void push_end(std::uint32_t in);
  // From here on only these of places().
  void push_only(std::span<const place> some);
  // Takes the last push back.
  void pop();
  std::size_t pushed() const noexcept { return levels_.size() - 1; }
  // All pushes are final.
  void commit();

  std::span<const place> places() const noexcept {
    return std::span{places_}.subspan(levels_.back().places);
  }
  // The text may end here.
  bool complete() const noexcept { return levels_.back().complete; }
  // It may go on here.
  bool open() const noexcept;
  // Calls that somebody may return from, or that were not forgotten yet.
  std::size_t calls() const noexcept { return calls_.size(); }
  const grammar& rules() const noexcept { return *grammar_; }
  const std::shared_ptr<const grammar>& shared_rules() const noexcept { return grammar_; }

 private:
  static constexpr auto none = std::numeric_limits<std::uint32_t>::max();
  struct level {  // what each held when it was begun
    std::size_t places, callers, returns;
    bool complete = false;
  };
  // A call may have several callers: places that asked for the same rule at the same byte.
  struct caller {
    grammar_state after;
    std::uint32_t in;
    std::uint32_t next;
  };
  struct mark {  // of a state: what was found for it in the closing at hand
    std::uint32_t epoch = 0, value = 0;
  };

  void begin_level();
  void add(grammar_state state, std::uint32_t in);
  void add_callers(std::uint32_t in);
  void enter(const grammar::call& c, std::uint32_t in);
  void close();
  void forget_unreachable();

  std::shared_ptr<const grammar> grammar_;
  std::vector<place> places_;
  std::vector<std::uint32_t> calls_;  // each call's last caller
  std::vector<caller> callers_;
  std::vector<level> levels_;
  std::vector<mark> seen_, called_;  // by state
  std::uint32_t epoch_ = 0;
  std::size_t calls_kept_ = 0;
};

}  // namespace dlls::model
