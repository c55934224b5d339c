// Inside of a trainer: shared by trainer.cpp and trainer_export.cpp only.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/dispatch.hpp"
#include "model/checkpoint.hpp"
#include "model/optimizer.hpp"
#include "model/trainer.hpp"

namespace dlls::model {

struct trainer::state {
  state(
      std::shared_ptr<const gguf_file> base, dataset data, training_spec spec,
      const llama_config& config, std::span<const float> rope_factors, kernels::thread_pool& pool);
  // From the newest checkpoint, or the beginning.
  base::result<> start(const std::filesystem::path& folder);
  std::vector<checkpoint_array> arrays();
  std::vector<std::uint32_t> order_of(std::uint64_t epoch) const;
  std::vector<token_batch> batches_of(std::uint64_t step) const;  // step from 0

  std::shared_ptr<const gguf_file> base;
  dataset data;
  training_spec spec;  // batch_rows at most the examples there are
  llama_config config;
  kernels::thread_pool& pool;
  parameter_layout layout;
  optimizer<float> weights;
  training_pass<float> pass;
  std::optional<checkpoint_store> store;
  training_progress progress;
  std::uint64_t steps_per_epoch = 0, steps_total = 0;
};

}  // namespace dlls::model
