// Trains a LLaMA-family model on the CPU: fine-tunes every weight of a GGUF file, or starts a small
// one from nothing. Forward and backward passes are written by hand (trainer_pass.hpp); weights,
// gradients and moments are fp32: 16 bytes a parameter, plus about 0.7 MB a token of a micro-batch
// for a model of 135 M parameters.
//
//   auto t = trainer::create(base, std::move(data), spec, pool, spool / "checkpoints");
//   while (!t->done()) { report(t->step()); if (due) t->save_checkpoint(); }
//   t->export_gguf(store / "name.gguf", "name");
//
// A step is the unit of everything: cancel, report and save between two. A resumed run ends with
// the same bits as an unbroken one (same program, instruction set and thread count).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "kernels/parallel.hpp"
#include "model/dataset.hpp"
#include "model/gguf.hpp"
#include "model/trainer_spec.hpp"

namespace dlls::model {

struct step_report {
  std::uint64_t step = 0;         // this one's number, from 1
  std::uint64_t steps_total = 0;  // planned; target_loss may end sooner
  std::uint32_t epoch = 0;        // from 1
  double loss = 0;       // mean over the step's counted targets, before the update, in nats
  double grad_norm = 0;  // global, before the clip
  double learning_rate = 0;
  std::uint64_t tokens_seen = 0;  // inputs since the first step, resumed ones included
  double tokens_per_s = 0;        // of this step
};

// Movable. One thread at a time; keeps the base file alive; the pool must outlive it.
class trainer {
 public:
  // `checkpoint_folder` empty: no checkpoints. A folder that holds one is continued from, at the
  // newest that verifies; created when absent.
  // invalid_argument: a bad spec, an empty data set, token ids beyond the vocabulary, examples
  //   longer than the context.
  // unsupported: the file is no plain LLaMA (llama_traits).        corrupt: its tensors don't fit.
  // failed_precondition: the folder's checkpoint is of another data set, spec or base file.
  // resource_exhausted: not enough memory.
  static base::result<trainer> create(
      std::shared_ptr<const gguf_file> base, dataset data, training_spec spec,
      kernels::thread_pool& pool, std::filesystem::path checkpoint_folder = {});
  ~trainer();
  trainer(trainer&&) noexcept;
  trainer& operator=(trainer&&) noexcept;

  // One optimizer step. done() must be false. A loss that is no number ends the training with
  // failed_precondition ("lower the learning rate"); the weights are then those before the step.
  base::result<step_report> step();
  bool done() const noexcept;
  std::uint64_t steps_done() const noexcept;
  std::uint64_t steps_total() const noexcept;
  std::uint64_t parameters() const noexcept;

  // Writes the state after the last step and prunes old ones (checkpoint.hpp). A failure leaves the
  // earlier checkpoints and the training as they were: report it and go on.
  // failed_precondition without a folder; storage_full, io.
  base::result<> save_checkpoint();

  // The model as GGUF: matrices F16, norms F32, every metadata key of the base file (tokenizer,
  // chat template), general.name replaced; from nothing: the spec's shape in the llama.* keys.
  // Durable (gguf_writer::write). The trainer can go on afterwards.
  base::result<> export_gguf(
      const std::filesystem::path& path, const std::string& model_name) const;

 private:
  struct state;
  explicit trainer(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

}  // namespace dlls::model
