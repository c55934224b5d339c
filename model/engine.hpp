// Many answers and embeddings of one model at once: continuous batching (Yu et al. 2022, Orca) over
// a paged cache (Kwon et al. 2023) with shared prefixes.
//
// Each step is one pass over the model: a token of every answer that is running, and a piece of the
// prompts that have come, small enough that those don't wait for them. Sequences come and go
// between steps. When the cache is full the youngest gives way: its pages go, what it has said
// stays, and it is computed anew when there is room. None of that shows in a result: a sequence
// gets the tokens that it would get alone, to the bit.
//
// An embedding is a prompt that nothing follows: it takes part like the others, its rows give
// hidden states instead of logits, and with its last row it ends. A mean needs the hidden state of
// every token: it takes no prefix from the cache, but leaves its pages there for others.
//
// Whose turn it is to begin goes by what its owner has been served (Sheng et al. 2024, virtual
// token counter), so that one API key's hundred prompts don't keep another's single one waiting.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "model/drafter.hpp"
#include "model/embedding.hpp"
#include "model/forward_scratch.hpp"
#include "model/kv_cache.hpp"
#include "model/llama.hpp"
#include "model/prompt_lookup.hpp"
#include "model/sequence.hpp"

namespace dlls::model {

struct engine_limits {
  std::uint64_t cache_bytes = std::uint64_t{1} << 30;  // of all sequences together
  std::optional<kernels::element> cache_type;          // of its numbers; none: llama::kv_type()
  std::uint32_t running_max = 32;  // sequences in one step, at most forward_rows_max / 2
  std::uint32_t waiting_max = 64;  // sequences that wait for one of those places...
  std::uint64_t waiting_tokens_max = 1u << 18;  // ...and what they are to take in and say, tokens
  // How long a step may take, about, while an answer is running.
  std::chrono::milliseconds step_target{50};
  // Rows of a step up to which answers guess ahead (prompt_lookup.hpp, then drafter.hpp where there
  // is one); 0: they don't. A step of a few rows takes hardly longer than one of a single row.
  std::uint32_t guessing_rows_max = 8;
};

// Counts since the engine was made, but for the first four.
struct engine_load {
  std::uint32_t running = 0, waiting = 0;
  std::uint32_t pages = 0, pages_free = 0;  // of the cache; free ones may hold prefixes
  std::uint64_t prompt_tokens = 0;          // computed
  std::uint64_t shared_tokens = 0;          // of prompts, found in the cache
  std::uint64_t answer_tokens = 0;
  std::uint64_t guessed = 0, guessed_right = 0;  // tokens, by their own text
  std::uint64_t drafted = 0, drafted_right = 0;  // by the draft model
  std::uint64_t preemptions = 0;
};

// One thread at a time, unless said otherwise. Shares the model.
class engine {
 public:
  using sequence_id = std::uint64_t;  // never used twice

  // `draft`: a smaller model that guesses for it; both have their caches in cache_bytes.
  // failed_precondition: cache_bytes holds no page of this model, with both sizes.
  // resource_exhausted: the memory is not to be had. unsupported: no cache of cache_type for it.
  // As drafter::fits for one that can't guess for it.
  static base::result<std::unique_ptr<engine>> make(
      std::shared_ptr<const llama> model, std::shared_ptr<const tokenizer> vocabulary,
      const engine_limits& limits, std::optional<draft_model> draft = {});
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;

  // As sequence::begin, for add(): an answer without max_tokens ends where the cache does. Any
  // thread.
  base::result<sequence> begin(generation_request request) const;
  // As embedding::begin. Any thread.
  base::result<embedding> begin(embedding_request request) const;

  using work = std::variant<sequence, embedding>;
  // too_long for the whole cache; resource_exhausted: too many wait, with the
  // time after which to try again. `owner`: whom it is served to, for fairness.
  base::result<sequence_id> add(work what, const std::string& owner);
  // It is gone before the next step. No effect on one that has ended.
  void cancel(sequence_id who) noexcept;
  bool idle() const noexcept { return running_.empty() && waiting_.empty(); }

  // What a step made of one sequence: a token; several in order where it had guessed right. The
  // last one's `reason` is set; it is forgotten. Of an embedding there is one, with reason stop.
  struct output {
    sequence_id who;
    generated_delta delta;
    finish_reason reason;
    generation_usage usage;
    std::vector<float> embedding = {};  // (dim), of any length; empty for an answer
  };
  // Good until the next step; empty when there was none but prompts to take in. Throws
  // std::bad_alloc; the engine is of no use afterwards.
  std::span<const output> step(kernels::thread_pool& pool);

  engine_load load() const noexcept;
  // How long what is running and waiting will take, about; zero before anything was measured.
  std::chrono::microseconds backlog() const noexcept;
  // Forgets prefixes that nobody uses and gives their memory back.
  void trim();

 private:
  struct member {
    sequence_id who;
    std::string owner;
    work what;
    kv_cache cache;
    bool preempted = false;
    prompt_lookup lookup;
    std::optional<drafter::text> draft;  // once it was first asked for a guess
    std::vector<token_id> ahead;  // in this step: the last token and what is guessed after it

    sequence* answer() { return std::get_if<sequence>(&what); }
    model::embedding* embedding() { return std::get_if<model::embedding>(&what); }
    std::span<const token_id> tokens() const;
    std::uint32_t prompt_size() const;
    std::uint32_t tokens_max() const;
    bool finished() const;
    bool wants_all_rows() const;
    std::size_t left() const { return tokens().size() - cache.size(); }
    std::uint64_t tokens_to_go() const { return tokens_max() - cache.size(); }
    bool reserve_ahead(std::size_t guesses);
    // An answer that has taken in all but its last token.
    bool speaks() { return answer() != nullptr && left() == 1; }
  };
  using members = std::vector<std::unique_ptr<member>>;

  engine(
      std::shared_ptr<const llama> model, std::shared_ptr<const tokenizer> vocabulary,
      const engine_limits& limits, std::shared_ptr<kv_pool> cache_pages,
      std::unique_ptr<drafter> draft);
  std::uint64_t cache_tokens() const noexcept;
  base::error busy() const;
  void admit();
  bool before(const member& a, const member& b) const;
  std::uint32_t adopt(member& m);
  bool find_room(member& m, std::size_t tokens);
  void preempt(members::iterator who);
  void plan(kernels::thread_pool& pool);
  void plan_answers();
  void plan_prompts();
  std::size_t prompt_rows_max() const noexcept;
  void include(member& m, std::span<const token_id> tokens, rows_kept wanted);
  void look_up(member& m, std::size_t most);
  void draft(kernels::thread_pool& pool);
  std::size_t guesses_max(const member& m, std::size_t answers) const noexcept;
  void compute(kernels::thread_pool& pool);
  void choose(kernels::thread_pool& pool);
  void pool_hidden();
  void settle();
  void measure(std::chrono::steady_clock::duration took) noexcept;

  const std::shared_ptr<const llama> model_;
  const std::shared_ptr<const tokenizer> vocabulary_;
  const engine_limits limits_;
  const std::shared_ptr<kv_pool> pool_;
  const std::unique_ptr<drafter> drafter_;       // null: there is none
  members running_;                              // in the order in which they were admitted
  members waiting_;                              // in the order in which they came
  std::map<std::string, std::uint64_t> served_;  // rows, by owner
  sequence_id next_ = 1;

  // Of the step at hand.
  forward_scratch scratch_;
  std::vector<forward_part> parts_;
  std::vector<member*> in_part_;
  std::set<kv_page_key> begun_pages_;
  std::vector<float> logits_;  // (rows wanted of answers, vocab)
  std::vector<float> hidden_;  // (rows wanted of embeddings, dim)
  std::vector<output> outputs_;
  std::size_t rows_ = 0;

  double rows_a_second_ = 0;  // lately; 0: not measured yet
  engine_load counts_;
};

}  // namespace dlls::model
