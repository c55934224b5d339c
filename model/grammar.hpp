// A language of byte strings, as a recursive transition network (Woods 1970): states joined by
// bytes, and by calls of rules. What may be called may call itself, so nesting has no bound; a rule
// is known by its first state.
//
// Built once by a grammar_builder, read by any number of grammar_matchers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace dlls::model {

using grammar_state = std::uint32_t;

// Immutable: any number of threads may use one.
class grammar {
 public:
  static constexpr grammar_state none = std::numeric_limits<grammar_state>::max();

  struct edge {
    std::uint8_t low, high;  // both inside; edges of one state don't overlap
    grammar_state to;
  };
  // Goes on in `after` when the rule has ended; none: the rule's end is this one's as well.
  struct call {
    grammar_state rule, after;
    bool may_be_empty;  // the rule matches the empty text
  };

  grammar_state start() const noexcept { return start_; }
  std::size_t size() const noexcept { return states_.size() - 1; }
  // States below are the same in every grammar that its maker builds: see json_rules.hpp.
  std::size_t shared() const noexcept { return shared_; }

  std::span<const edge> edges(grammar_state of) const noexcept {
    return {edges_.data() + states_[of].edges, edges_.data() + states_[of + 1].edges};
  }
  std::span<const call> calls(grammar_state of) const noexcept {
    return {calls_.data() + states_[of].calls, calls_.data() + states_[of + 1].calls};
  }
  // Whether its rule may end here.
  bool ends(grammar_state of) const noexcept { return states_[of].ends; }

 private:
  friend class grammar_builder;
  struct state {
    std::uint32_t edges = 0, calls = 0;  // where its own begin
    bool ends = false;
  };
  std::vector<state> states_;  // and one more that bounds the last
  std::vector<edge> edges_;
  std::vector<call> calls_;
  grammar_state start_ = 0;
  std::size_t shared_ = 0;
};

// Collects states in any order. One thread.
class grammar_builder {
 public:
  // More states are a failure (base::failure, invalid_argument): schemas come from strangers.
  explicit grammar_builder(std::size_t states_max) : states_max_(states_max) {}

  grammar_state add();
  void byte(grammar_state from, std::uint8_t low, std::uint8_t high, grammar_state to);
  void byte(grammar_state from, char one, grammar_state to);
  // Where `text` leads from there: along what has been spelled already as far as it goes, so
  // that alternatives share their beginnings.
  grammar_state spell(grammar_state from, std::string_view text);
  void call(grammar_state from, grammar_state rule, grammar_state after);
  void end(grammar_state at);
  // What has been added so far is alike in all grammars.
  void share() { shared_ = states_.size(); }

  // Leaves out what leads nowhere, so that from every state a matcher can reach there is a way to
  // the end. invalid_argument: there is no text at all.
  base::result<grammar> build(grammar_state start) &&;

 private:
  struct state {
    std::vector<grammar::edge> edges;
    std::vector<grammar::call> calls;
    bool ends = false;
  };
  std::vector<bool> that_end(bool bytes_count) const;
  bool only_ends(grammar_state at) const;

  std::size_t states_max_, shared_ = 0;
  std::vector<state> states_;
};

}  // namespace dlls::model
