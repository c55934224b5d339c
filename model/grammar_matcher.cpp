#include "model/grammar_matcher.hpp"

#include <algorithm>
#include <utility>

namespace dlls::model {

grammar_matcher::grammar_matcher(std::shared_ptr<const grammar> of)
    : grammar_matcher(of, of->start()) {}

grammar_matcher::grammar_matcher(std::shared_ptr<const grammar> of, grammar_state at)
    : grammar_(std::move(of)), calls_{none}, seen_(grammar_->size()), called_(grammar_->size()) {
  begin_level();
  add(at, 0);
  close();
}

void grammar_matcher::begin_level() {
  levels_.push_back({places_.size(), callers_.size(), calls_.size()});
  if (++epoch_ != 0) return;
  std::ranges::fill(seen_, mark{});
  std::ranges::fill(called_, mark{});
  epoch_ = 1;
}

void grammar_matcher::add(grammar_state state, std::uint32_t in) {
  auto& seen = seen_[state];
  const auto alike = seen.epoch == epoch_ ? seen.value : none;
  std::size_t others = 0;
  for (auto at = alike; at != none; at = places_[at].alike, ++others)
    if (places_[at].in == in) return;
  if (others >= alike_max || places_.size() - levels_.back().places >= places_max) return;
  seen = {epoch_, static_cast<std::uint32_t>(places_.size())};
  places_.push_back({state, in, alike});
}

void grammar_matcher::add_callers(std::uint32_t in) {
  if (in == 0) levels_.back().complete = true;
  for (auto at = calls_[in]; at != none; at = callers_[at].next)
    add(callers_[at].after, callers_[at].in);
}

void grammar_matcher::enter(const grammar::call& c, std::uint32_t in) {
  if (c.after == grammar::none) return add(c.rule, in);
  auto& called = called_[c.rule];
  if (called.epoch != epoch_) {
    called = {epoch_, static_cast<std::uint32_t>(calls_.size())};
    calls_.push_back(none);
  }
  const auto call = called.value;
  callers_.push_back({c.after, in, calls_[call]});
  calls_[call] = static_cast<std::uint32_t>(callers_.size() - 1);
  add(c.rule, call);
  // Its end may have been seen before this caller came.
  if (c.may_be_empty) add(c.after, in);
}

// What is reached without a byte.
void grammar_matcher::close() {
  for (auto i = levels_.back().places; i < places_.size(); ++i) {
    const auto here = places_[i];
    for (const auto& c : grammar_->calls(here.state)) enter(c, here.in);
    if (grammar_->ends(here.state)) add_callers(here.in);
  }
}

bool grammar_matcher::push(std::uint8_t byte) {
  const auto first = levels_.back().places, last = places_.size();
  begin_level();
  for (auto i = first; i < last; ++i)
    for (const auto& e : grammar_->edges(places_[i].state))
      if (byte >= e.low && byte <= e.high) {
        add(e.to, places_[i].in);
        break;
      }
  close();
  if (places_.size() > last) return true;
  pop();
  return false;
}

void grammar_matcher::push_end(std::uint32_t in) {
  begin_level();
  add_callers(in);
  close();
}

void grammar_matcher::push_only(std::span<const place> some) {
  const std::vector<place> kept(some.begin(), some.end());
  begin_level();
  for (const auto& one : kept) add(one.state, one.in);
}

void grammar_matcher::pop() {
  const auto& last = levels_.back();
  places_.resize(last.places);
  callers_.resize(last.callers);
  calls_.resize(last.returns);
  levels_.pop_back();
}

void grammar_matcher::commit() {
  const bool complete = levels_.back().complete;
  places_.erase(
      places_.begin(), places_.begin() + static_cast<std::ptrdiff_t>(levels_.back().places));
  levels_.assign(1, {0, 0, 0, complete});
  constexpr std::size_t few = 64;
  if (calls_.size() > few + 2 * calls_kept_) forget_unreachable();
}

bool grammar_matcher::open() const noexcept {
  return std::ranges::any_of(
      places(), [&](const place& p) { return !grammar_->edges(p.state).empty(); });
}

void grammar_matcher::forget_unreachable() {
  std::vector<std::uint32_t> renamed(calls_.size(), none), calls{none}, to_do;
  std::vector<caller> callers;
  renamed[0] = 0;
  const auto keep = [&](std::uint32_t call) {
    if (renamed[call] == none) {
      renamed[call] = static_cast<std::uint32_t>(calls.size());
      calls.push_back(none);
      to_do.push_back(call);
    }
    return renamed[call];
  };
  for (auto& p : places_) p.in = keep(p.in);
  while (!to_do.empty()) {
    const auto call = to_do.back();
    to_do.pop_back();
    for (auto at = calls_[call]; at != none; at = callers_[at].next) {
      const auto in = keep(callers_[at].in);
      auto& last = calls[renamed[call]];
      callers.push_back({callers_[at].after, in, last});
      last = static_cast<std::uint32_t>(callers.size() - 1);
    }
  }
  calls_ = std::move(calls);
  callers_ = std::move(callers);
  calls_kept_ = calls_.size();
}

}  // namespace dlls::model
