#include "model/grammar.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/check.hpp"

namespace dlls::model {
using base::errc;
using base::error;

grammar_state grammar_builder::add() {
  if (states_.size() >= states_max_)
    throw base::failure{
        error{errc::invalid_argument, fmt::format("it needs more than {} states", states_max_)}};
  states_.emplace_back();
  return static_cast<grammar_state>(states_.size() - 1);
}

void grammar_builder::byte(
    grammar_state from, std::uint8_t low, std::uint8_t high, grammar_state to) {
  for (const auto& e : states_[from].edges)
    base::check(high < e.low || low > e.high, "a byte leads to one state");
  states_[from].edges.push_back({low, high, to});
}

void grammar_builder::byte(grammar_state from, char one, grammar_state to) {
  byte(from, static_cast<std::uint8_t>(one), static_cast<std::uint8_t>(one), to);
}

grammar_state grammar_builder::spell(grammar_state from, std::string_view text) {
  for (const char c : text) {
    const auto& edges = states_[from].edges;
    const auto known = std::ranges::find_if(edges, [c](const auto& e) {
      return e.low == static_cast<std::uint8_t>(c) && e.high == e.low;
    });
    if (known != edges.end()) {
      from = known->to;
    } else {
      const auto to = add();
      byte(from, c, to);
      from = to;
    }
  }
  return from;
}

void grammar_builder::call(grammar_state from, grammar_state rule, grammar_state after) {
  states_[from].calls.push_back({rule, after, false});
}

void grammar_builder::end(grammar_state at) { states_[at].ends = true; }

// The states from which an end can be reached; without bytes: by the empty text.
std::vector<bool> grammar_builder::that_end(bool bytes_count) const {
  std::vector<std::vector<grammar_state>> needed_by(states_.size());
  std::vector<grammar_state> to_do;
  std::vector<bool> good(states_.size());
  for (grammar_state s = 0; s < states_.size(); ++s) {
    if (bytes_count)
      for (const auto& e : states_[s].edges) needed_by[e.to].push_back(s);
    for (const auto& c : states_[s].calls) {
      needed_by[c.rule].push_back(s);
      needed_by[c.after].push_back(s);
    }
    if (states_[s].ends) good[s] = true, to_do.push_back(s);
  }
  const auto is_good = [&](const state& s) {
    return (bytes_count && std::ranges::any_of(s.edges, [&](auto& e) { return good[e.to]; })) ||
           std::ranges::any_of(s.calls, [&](auto& c) { return good[c.rule] && good[c.after]; });
  };
  while (!to_do.empty()) {
    const auto reached = to_do.back();
    to_do.pop_back();
    for (const auto s : needed_by[reached])
      if (!good[s] && is_good(states_[s])) good[s] = true, to_do.push_back(s);
  }
  return good;
}

bool grammar_builder::only_ends(grammar_state at) const {
  const auto& s = states_[at];
  return s.ends && s.edges.empty() && s.calls.empty();
}

base::result<grammar> grammar_builder::build(grammar_state start) && {
  const auto good = that_end(true), empty = that_end(false);
  if (!good[start]) return error{errc::invalid_argument, "no text satisfies it"};
  grammar made;
  made.start_ = start;
  made.shared_ = shared_;
  for (const auto& s : states_) {
    made.states_.push_back(
        {static_cast<std::uint32_t>(made.edges_.size()),
         static_cast<std::uint32_t>(made.calls_.size()), s.ends});
    for (const auto& e : s.edges)
      if (good[e.to]) made.edges_.push_back(e);
    for (const auto& c : s.calls)
      if (good[c.rule] && good[c.after])
        made.calls_.push_back(
            {c.rule, only_ends(c.after) ? grammar::none : c.after, empty[c.rule]});
  }
  made.states_.push_back(
      {static_cast<std::uint32_t>(made.edges_.size()),
       static_cast<std::uint32_t>(made.calls_.size()), false});
  return made;
}

}  // namespace dlls::model
