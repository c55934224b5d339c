// Models in memory, shared by everything on the node that generates. A model is loaded on first use
// and dropped when another needs its room: those that nobody uses, least recently used first.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "actors/model_store.hpp"
#include "base/error.hpp"
#include "kernels/parallel.hpp"
#include "model/chat_template.hpp"
#include "model/llama.hpp"
#include "model/token_masks.hpp"
#include "model/tokenizer.hpp"

namespace dlls::actors {

// Immutable; whoever holds it keeps the model in memory.
struct loaded_model {
  stored_model from;
  std::shared_ptr<const model::llama> weights;
  std::shared_ptr<const model::tokenizer> vocabulary;
  model::chat_template how;
  std::shared_ptr<const model::token_masks> masks;  // of the vocabulary
};

// Thread-safe. Loading blocks the caller (a second or so), but nobody who asks for a model that is
// there; two loads never run at once.
class model_cache {
 public:
  // `bytes_max`: what all models here may take together, those in use included. `compute`: with
  // whose threads weights are packed; null: with the caller's.
  model_cache(
      model_store& store, std::uint64_t bytes_max,
      std::shared_ptr<kernels::thread_pool> compute = nullptr)
      : store_(store), bytes_max_(bytes_max), compute_(std::move(compute)) {}

  // not_found (with what there is), corrupt or unsupported from the file; failed_precondition: it
  // can never fit; resource_exhausted: not beside those in use.
  base::result<std::shared_ptr<const loaded_model>> get(const std::string& name);
  // Keeps it no longer unless somebody else has it; the caller's own is left out of account.
  void release(const std::shared_ptr<const loaded_model>& one);

 private:
  model_store& store_;
  const std::uint64_t bytes_max_;
  const std::shared_ptr<kernels::thread_pool> compute_;
  std::shared_ptr<const loaded_model> find(const stored_model& wanted);
  base::result<> make_room(const stored_model& wanted);

  std::mutex loading_;
  std::mutex mutex_;  // of kept_; taken last
  // Most recently used first; an older file's under the same name, too, while somebody uses it.
  std::vector<std::shared_ptr<const loaded_model>> kept_;
};

}  // namespace dlls::actors
