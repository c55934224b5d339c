#include "model/engine.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <new>
#include <utility>

#include "base/check.hpp"
#include "kernels/parallel.hpp"

namespace dlls::model {
using base::errc;
using base::error;

namespace {

// A step takes in at least this much of a prompt, and so much before the speed is known.
constexpr std::size_t prompt_rows_min = 16;
constexpr std::size_t prompt_rows_first = 64;
// Owners that are remembered; with more, those who are away begin anew.
constexpr std::size_t owners_max = 4096;

}  // namespace

base::result<std::unique_ptr<engine>> engine::make(
    std::shared_ptr<const llama> model, std::shared_ptr<const tokenizer> vocabulary,
    const engine_limits& limits, std::optional<draft_model> draft) {
  base::check(
      limits.running_max >= 1 && limits.running_max <= forward_rows_max / 2,
      "sequences that leave a pass room for prompts");
  const auto type = model->kv_type(limits.cache_type);
  if (!type) return type.error();
  auto page = kv_pool::page_bytes(model->config(), *type);
  if (draft) {
    if (auto fits = drafter::fits(*draft, *vocabulary); !fits) return fits.error();
    page += drafter::page_bytes(*draft, limits.cache_type);
  }
  // Never more than all places could fill.
  const auto most = std::uint64_t{kv_pages_for(model->config().context)} * (limits.running_max + 1);
  const auto pages = static_cast<std::uint32_t>(std::min(limits.cache_bytes / page, most));
  if (pages == 0)
    return error{
        errc::failed_precondition,
        fmt::format(
            "the key-value cache is {} KiB, and {} tokens of this model take {} KiB",
            limits.cache_bytes >> 10, kv_page_tokens, page >> 10),
        "raise cache_mib of the node"};
  try {
    auto pool = std::make_shared<kv_pool>(model->config(), pages, *type);
    auto guesses = draft ? std::make_unique<drafter>(
                               std::move(*draft), model->bytes(), limits.cache_type, pages)
                         : nullptr;
    return std::unique_ptr<engine>(new engine(
        std::move(model), std::move(vocabulary), limits, std::move(pool), std::move(guesses)));
  } catch (const std::bad_alloc&) {
    return error{
        errc::resource_exhausted,
        fmt::format("not enough memory for a key-value cache of {} KiB", limits.cache_bytes >> 10)};
  }
}

engine::engine(
    std::shared_ptr<const llama> model, std::shared_ptr<const tokenizer> vocabulary,
    const engine_limits& limits, std::shared_ptr<kv_pool> cache_pages,
    std::unique_ptr<drafter> draft)
    : model_(std::move(model)),
      vocabulary_(std::move(vocabulary)),
      limits_(limits),
      pool_(std::move(cache_pages)),
      drafter_(std::move(draft)) {}

std::span<const token_id> engine::member::tokens() const {
  return std::visit([](const auto& w) { return w.tokens(); }, what);
}
std::uint32_t engine::member::prompt_size() const {
  return std::visit([](const auto& w) { return w.prompt_size(); }, what);
}
std::uint32_t engine::member::tokens_max() const {
  return std::visit([](const auto& w) { return w.tokens_max(); }, what);
}
bool engine::member::finished() const {
  return std::visit([](const auto& w) { return w.finished(); }, what);
}
bool engine::member::wants_all_rows() const {
  const auto* e = std::get_if<model::embedding>(&what);
  return e != nullptr && e->how() == pooling::mean;
}

// Room for guesses after the last token.
bool engine::member::reserve_ahead(std::size_t guesses) {
  return cache.reserve(cache.size() + 1 + static_cast<std::uint32_t>(guesses));
}

std::uint64_t engine::cache_tokens() const noexcept {
  return std::uint64_t{pool_->pages()} * kv_page_tokens;
}

base::result<sequence> engine::begin(generation_request request) const {
  if (!request.max_tokens && request.prompt.size() < cache_tokens())
    request.max_tokens = static_cast<std::uint32_t>(cache_tokens() - request.prompt.size());
  return sequence::begin(model_->config(), vocabulary_, std::move(request));
}

base::result<embedding> engine::begin(embedding_request request) const {
  return embedding::begin(model_->config(), std::move(request));
}

base::result<engine::sequence_id> engine::add(work what, const std::string& owner) {
  auto added = std::make_unique<member>(member{next_, owner, std::move(what), kv_cache{pool_}});
  std::uint64_t tokens = added->tokens_max();
  if (tokens > cache_tokens())
    return error{
        errc::too_long,
        fmt::format(
            "{} {} tokens, the memory for this model holds {}",
            added->answer() ? "prompt and answer may take" : "the input takes", tokens,
            cache_tokens()),
        added->answer() ? "ask for fewer tokens, or raise cache_mib of the node"
                        : "shorten the input, or raise cache_mib of the node"};
  for (const auto& m : waiting_) tokens += m->tokens_to_go();
  if (waiting_.size() >= limits_.waiting_max ||
      (!waiting_.empty() && tokens > limits_.waiting_tokens_max))
    return busy();
  // Whoever comes back begins where those are who are being served, not before them.
  const auto active = [&](const std::string& who) {
    const auto is = [&](const auto& m) { return m->owner == who; };
    return std::ranges::any_of(running_, is) || std::ranges::any_of(waiting_, is);
  };
  if (served_.size() > owners_max)
    std::erase_if(served_, [&](const auto& one) { return !active(one.first); });
  if (!active(owner)) {
    std::uint64_t least = UINT64_MAX;
    for (const auto& [who, rows] : served_)
      if (active(who)) least = std::min(least, rows);
    auto& mine = served_[owner];
    if (least != UINT64_MAX) mine = std::max(mine, least);
  }
  waiting_.push_back(std::move(added));
  return next_++;
}

void engine::cancel(sequence_id who) noexcept {
  const auto is = [&](const auto& m) { return m->who == who; };
  std::erase_if(running_, is);
  std::erase_if(waiting_, is);
}

// --- who takes part ----------------------------------------------------------------------------

// Those that had to give way go on first, then whoever's owner was served least, then by age.
bool engine::before(const member& a, const member& b) const {
  if (a.preempted != b.preempted) return a.preempted;
  const auto served_a = served_.at(a.owner), served_b = served_.at(b.owner);
  return served_a != served_b ? served_a < served_b : a.who < b.who;
}

void engine::admit() {
  while (running_.size() < limits_.running_max && !waiting_.empty()) {
    const auto next = std::ranges::min_element(
        waiting_, [&](const auto& a, const auto& b) { return before(*a, *b); });
    auto& m = **next;
    const auto shared = adopt(m);
    const auto needed = kv_pages_for(static_cast<std::uint32_t>(m.tokens().size()) + 1) -
                        kv_pages_for(m.cache.size());
    // A page each for those that run already, so that they don't have to give way at once.
    if (needed + running_.size() > pool_->available() && !running_.empty()) {
      m.cache.clear();
      return;
    }
    counts_.shared_tokens += shared;
    m.preempted = false;
    running_.push_back(std::move(*next));
    waiting_.erase(next);
  }
}

void engine::preempt(members::iterator who) {
  auto& m = **who;
  m.cache.clear();
  m.draft.reset();
  if (auto* e = m.embedding()) e->restart();
  m.preempted = true;
  ++counts_.preemptions;
  const auto at = std::ranges::find_if(waiting_, [&](const auto& w) { return w->who > m.who; });
  waiting_.insert(at, std::move(*who));
  running_.erase(who);
}

// A mean needs what the pages of others don't hold.
std::uint32_t engine::adopt(member& m) {
  return m.wants_all_rows() ? 0 : m.cache.adopt(m.tokens());
}

// Room for `tokens` more; younger ones give way that are not in this step. False: there is none.
bool engine::find_room(member& m, std::size_t tokens) {
  while (!m.cache.reserve(m.cache.size() + static_cast<std::uint32_t>(tokens))) {
    auto* youngest = running_.back().get();
    if (youngest == &m || std::ranges::find(in_part_, youngest) != in_part_.end()) return false;
    preempt(running_.end() - 1);
  }
  return true;
}

// --- one step ----------------------------------------------------------------------------------

void engine::include(member& m, std::span<const token_id> tokens, rows_kept wanted) {
  parts_.push_back({&m.cache, tokens, wanted});
  in_part_.push_back(&m);
  rows_ += tokens.size();
  served_[m.owner] += tokens.size();
  const std::uint64_t prompt = m.prompt_size(), done = m.cache.size();
  counts_.prompt_tokens += std::min(prompt, done + tokens.size()) - std::min(prompt, done);
}

void engine::plan(kernels::thread_pool& pool) {
  parts_.clear();
  in_part_.clear();
  begun_pages_.clear();
  rows_ = 0;
  plan_answers();
  if (drafter_) draft(pool);
  plan_prompts();
}

// An answer's part of the rows, without the one of its last token; no more than it may still say.
std::size_t engine::guesses_max(const member& m, std::size_t answers) const noexcept {
  const std::size_t rows = limits_.guessing_rows_max / std::max<std::size_t>(answers, 1);
  const std::size_t to_say = m.tokens_max() - m.tokens().size();
  return std::min(std::max<std::size_t>(rows, 1), to_say) - 1;
}

// The last token, and what may follow it.
void engine::look_up(member& m, std::size_t most) {
  const auto tokens = m.tokens();
  const auto guessed = m.lookup.guess(tokens, most);
  m.ahead.assign(1, tokens.back());
  // Never at the cost of somebody else's pages.
  if (m.reserve_ahead(guessed.size()))
    m.ahead.insert(m.ahead.end(), guessed.begin(), guessed.end());
}

// A token for every sequence that has taken in all but its last one.
void engine::plan_answers() {
  const auto answers = static_cast<std::size_t>(
      std::ranges::count_if(running_, [](const auto& m) { return m->speaks(); }));
  for (std::size_t i = 0; i < running_.size();) {
    auto& m = *running_[i];
    if (!m.speaks()) {
      ++i;
    } else if (find_room(m, 1)) {
      look_up(m, guesses_max(m, answers));
      include(m, m.ahead, rows_kept::all);
      ++i;
    } else {
      preempt(running_.begin() + static_cast<std::ptrdiff_t>(i));  // it is the youngest
    }
  }
}

// What the draft model has to say to the answers in this step that found nothing in their texts.
void engine::draft(kernels::thread_pool& pool) {
  std::vector<drafter::request> asked;
  for (auto* m : in_part_) {
    const auto most = m->ahead.size() == 1 ? guesses_max(*m, in_part_.size()) : 0;
    if (most == 0) continue;
    if (!m->draft) m->draft.emplace(drafter_->begin());
    asked.push_back({&*m->draft, m->tokens(), most});
  }
  drafter_->guess(asked, pool);
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    auto& m = *in_part_[i];
    const auto guessed = m.draft ? m.draft->guessed() : std::span<const token_id>{};
    if (guessed.empty() || !m.reserve_ahead(guessed.size())) continue;
    m.ahead.insert(m.ahead.end(), guessed.begin(), guessed.end());
    parts_[i].tokens = m.ahead;
    rows_ += guessed.size();
    served_[m.owner] += guessed.size();
  }
}

std::size_t engine::prompt_rows_max() const noexcept {
  const auto room = forward_rows_max - rows_;
  if (rows_ == 0) return room;
  if (rows_a_second_ == 0) return std::min(room, prompt_rows_first);
  const auto seconds = std::chrono::duration<double>(limits_.step_target).count();
  const auto rows = seconds * rows_a_second_ - static_cast<double>(rows_);
  return std::min(room, std::max(prompt_rows_min, static_cast<std::size_t>(std::max(0.0, rows))));
}

void engine::plan_prompts() {
  std::vector<member*> prompts;
  for (const auto& m : running_)
    if (!m->speaks()) prompts.push_back(m.get());
  std::ranges::sort(prompts, [&](auto* a, auto* b) { return before(*a, *b); });
  auto room = prompt_rows_max();
  for (auto* m : prompts) {
    if (room == 0) return;
    // It may have had to give way to one before it.
    if (std::ranges::none_of(running_, [&](const auto& r) { return r.get() == m; })) continue;
    const auto tokens = m->tokens();
    counts_.shared_tokens += adopt(*m);
    // Another one in this step computes the very page: it will be there in the next.
    if (const auto key = m->cache.next_key(tokens);
        key && !begun_pages_.insert(*key).second && !m->wants_all_rows())
      continue;
    auto n = std::min(m->left(), room);
    // Up to a page's end: that is where shared ones are found.
    if (const auto whole = (m->cache.size() + n) / kv_page_tokens * kv_page_tokens;
        n < m->left() && whole > m->cache.size())
      n = whole - m->cache.size();
    if (!find_room(*m, n)) continue;
    const auto wanted = m->wants_all_rows() ? rows_kept::all
                        : n == m->left()    ? rows_kept::last
                                            : rows_kept::none;
    include(*m, tokens.subspan(m->cache.size(), n), wanted);
    room -= n;
  }
}

// One pass over all parts: logits of answers, hidden states of embeddings.
void engine::compute(kernels::thread_pool& pool) {
  const std::size_t dim = model_->config().dim;
  std::size_t hidden = 0, logits = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i)
    (in_part_[i]->embedding() ? hidden : logits) += parts_[i].rows_wanted();
  logits_.resize(logits * model_->config().vocab);
  hidden_.resize(hidden * dim);
  auto room = std::span{hidden_};
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (!in_part_[i]->embedding()) continue;
    parts_[i].hidden = room.first(parts_[i].rows_wanted() * dim);
    room = room.subspan(parts_[i].hidden.size());
  }
  forward(*model_, scratch_, parts_, logits_, pool);
}

// The next token of every sequence that has logits, and of one that had guessed right the next
// after it: each chosen as if it had come alone.
void engine::choose(kernels::thread_pool& pool) {
  const std::size_t vocab = model_->config().vocab;
  struct choice {
    member* who;
    std::span<float> logits;
    std::vector<output> made;
  };
  std::vector<choice> choices;
  std::size_t at = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const auto rows = parts_[i].logit_rows();
    if (rows == 0) continue;
    choices.push_back({in_part_[i], std::span{logits_}.subspan(at * vocab, rows * vocab), {}});
    at += rows;
  }
  kernels::parallel_for(pool, choices.size(), 1, [&](std::size_t i, std::size_t) {
    auto& [who, logits, made] = choices[i];
    auto& answer = *who->answer();
    for (std::size_t row = 0; row * vocab < logits.size(); ++row) {
      auto delta = answer.accept(logits.subspan(row * vocab, vocab));
      const auto token = delta.token;
      made.push_back({who->who, std::move(delta), answer.reason(), answer.usage()});
      const bool guessed = row + 1 < who->ahead.size() && who->ahead[row + 1] == token;
      if (answer.finished() || !guessed) break;
    }
  });
  for (auto& [who, logits, made] : choices) {
    const auto guessed = logits.size() / vocab - 1, right = made.size() - 1;
    const bool drafted = who->draft && !who->draft->guessed().empty();
    if (!drafted) who->lookup.learn(guessed, right);
    (drafted ? counts_.drafted : counts_.guessed) += guessed;
    (drafted ? counts_.drafted_right : counts_.guessed_right) += right;
    counts_.answer_tokens += made.size();
    std::ranges::move(made, std::back_inserter(outputs_));
  }
}

void engine::pool_hidden() {
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    auto& m = *in_part_[i];
    auto* e = m.embedding();
    if (e == nullptr) continue;
    e->accept(parts_[i].hidden);
    if (m.left() == 0)
      outputs_.push_back({m.who, {}, finish_reason::stop, {e->prompt_size(), 0}, e->vector()});
  }
}

void engine::settle() {
  for (auto* m : in_part_) {
    const auto tokens = m->tokens();
    // What was guessed wrong goes; an answer's last token has no keys and values yet.
    if (m->answer() && m->cache.size() >= tokens.size())
      m->cache.truncate(static_cast<std::uint32_t>(tokens.size()) - 1);
    m->cache.publish(tokens);
    if (m->draft) drafter_->settle(*m->draft, tokens);
    m->ahead.clear();
  }
  std::erase_if(running_, [](const auto& m) { return m->finished(); });
}

void engine::measure(std::chrono::steady_clock::duration took) noexcept {
  const auto now = static_cast<double>(rows_) / std::chrono::duration<double>(took).count();
  if (!std::isfinite(now)) return;
  // Few rows take nearly as long as some: they say little about what more of them would take.
  if (rows_ < prompt_rows_min && rows_a_second_ != 0) return;
  constexpr double share = 0.2;
  rows_a_second_ = rows_a_second_ == 0 ? now : (1 - share) * rows_a_second_ + share * now;
}

std::span<const engine::output> engine::step(kernels::thread_pool& pool) {
  outputs_.clear();
  admit();
  plan(pool);
  if (parts_.empty()) return {};
  const auto began = std::chrono::steady_clock::now();
  compute(pool);
  choose(pool);
  pool_hidden();
  settle();
  measure(std::chrono::steady_clock::now() - began);
  return outputs_;
}

void engine::trim() {
  pool_->trim();
  if (drafter_) drafter_->trim();
}

// --- what it tells of itself -------------------------------------------------------------------

engine_load engine::load() const noexcept {
  auto now = counts_;
  now.running = static_cast<std::uint32_t>(running_.size());
  now.waiting = static_cast<std::uint32_t>(waiting_.size());
  now.pages = pool_->pages();
  now.pages_free = pool_->available();
  return now;
}

base::error engine::busy() const {
  const auto seconds = backlog() / std::chrono::seconds{1} + 1;
  error why{
      errc::resource_exhausted, "the node is answering as many prompts as it can",
      fmt::format("try again in about {} seconds", seconds)};
  why.retry_after_s = static_cast<std::uint32_t>(seconds);
  return why;
}

std::chrono::microseconds engine::backlog() const noexcept {
  if (rows_a_second_ == 0) return {};
  std::uint64_t tokens = 0;
  for (const auto* all : {&running_, &waiting_})
    for (const auto& m : *all) tokens += m->tokens_to_go();
  return std::chrono::microseconds{
      static_cast<std::int64_t>(1e6 * static_cast<double>(tokens) / rows_a_second_)};
}

}  // namespace dlls::model
