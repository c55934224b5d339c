// One kind of work a node does for a job, step by step, without an actor in sight: the trainer
// actor drives it on its own thread and may stop between any two steps. A new kind of job is one
// file that derives from job_run and one line in start_run.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "actors/messages.hpp"
#include "actors/model_cache.hpp"
#include "actors/model_store.hpp"
#include "base/error.hpp"
#include "kernels/parallel.hpp"

namespace dlls::actors {

// What a run works on. The inputs are verified and complete; `folder` is the run's own, survives a
// restart of the node, and is removed with the spool entry.
struct work_order {
  job_ref job;
  std::string kind;
  std::string spec_json;
  struct input {
    std::string name;
    std::filesystem::path path;
  };
  std::vector<input> inputs;
  std::filesystem::path folder;
  work_order() = default;
};

// What a run may use. Outlives the run.
struct run_tools {
  model_store& models;
  model_cache& cache;
  kernels::thread_pool& pool;
};

struct run_progress {
  std::uint64_t step = 0, steps_total = 0;  // 0 of 0: not known yet
  double loss = 0;                          // training only
  double seconds_left = -1;                 // negative: not known
};

// What a run leaves: small files with their content, and at most one model, still in the run's
// folder.
struct run_result {
  struct file {
    std::string name;
    std::string content;
  };
  std::vector<file> files;
  std::string metrics_json = "{}";
  std::string model_name;            // empty: no model
  std::filesystem::path model_file;  // the finished GGUF
};

// One thread at a time. Errors end the job as failed; what a disk or a restart breaks is resumed
// instead.
class job_run {
 public:
  virtual ~job_run() = default;
  virtual bool done() const = 0;
  // A piece of work of at most a few seconds. done() must be false.
  virtual base::result<> step() = 0;
  virtual run_progress progress() const = 0;
  // done() must be true. May take as long as writing the result.
  virtual base::result<run_result> finish() = 0;
};

// The kinds this program knows: "checksum", "fine_tune", "pretrain", "generate".
std::vector<std::string> known_kinds();

// unsupported for another kind; invalid_argument for a specification or an input that is wrong,
// with the place; not_found for a missing model. Continues from what an earlier run left in the
// folder.
base::result<std::unique_ptr<job_run>> start_run(work_order order, run_tools tools);

// The kinds, each in its own file.
base::result<std::unique_ptr<job_run>> start_checksum(work_order order);
base::result<std::unique_ptr<job_run>> start_training(work_order order, run_tools tools);
base::result<std::unique_ptr<job_run>> start_generation(work_order order, run_tools tools);

}  // namespace dlls::actors
