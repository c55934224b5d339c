// How long does a whole fine-tune take, from a model file and a chat file to a model file?
//   bench_fine_tune MODEL.gguf CHATS.jsonl EPOCHS [CHECKPOINT_FOLDER]
// All examples are one batch, as in the quickstart: AdamW (0.9, 0.95), no decay, constant rate
// 1e-4, clip 1. Every phase prints its wall and CPU time.
#include <fmt/core.h>
#include <sys/resource.h>
#include <time.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "model/trainer.hpp"

namespace {

using namespace dlls;
using namespace dlls::model;

// Prints what has passed since the last call.
class stop_clock {
 public:
  void lap(const std::string& what) {
    const double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    fmt::print("{:40} {:7.2f} s  {:7.2f} CPU s\n", what, wall - wall_, cpu - cpu_);
    wall_ = wall, cpu_ = cpu;
  }
  static double now(clockid_t which) {
    timespec t{};
    ::clock_gettime(which, &t);
    return double(t.tv_sec) + double(t.tv_nsec) / 1e9;
  }

 private:
  double wall_ = now(CLOCK_MONOTONIC), cpu_ = now(CLOCK_PROCESS_CPUTIME_ID);
};

int run(const char* model_path, const char* chats, std::uint32_t epochs, const char* checkpoints) {
  kernels::thread_pool pool;
  stop_clock clock;
  const double started = stop_clock::now(CLOCK_MONOTONIC);
  const auto file = gguf_file::open(model_path).value();
  const auto vocabulary = tokenizer::from(*file).value();
  const auto how = chat_template::from(*file).value();
  const auto context = file->get_u32("llama.context_length").value();
  auto data = load_chat_jsonl(chats, *vocabulary, how, context).value();
  clock.lap(fmt::format("data: {} tokens, {} counted", data.tokens(), data.counted_targets()));
  training_spec spec;
  spec.epochs = epochs, spec.batch_rows = 0;
  auto t = trainer::create(file, std::move(data), spec, pool, checkpoints).value();
  clock.lap(fmt::format("weights: {:.1f} M parameters", double(t.parameters()) / 1e6));
  while (!t.done()) {
    const auto r = t.step().value();
    clock.lap(fmt::format("step {}: loss {:.4f}, norm {:.2f}", r.step, r.loss, r.grad_norm));
  }
  if (*checkpoints != '\0') {
    t.save_checkpoint().value();
    clock.lap("checkpoint");
  }
  const auto out = std::filesystem::temp_directory_path() / "bench_fine_tune.gguf";
  t.export_gguf(out, "fine-tuned").value();
  clock.lap("export");
  std::filesystem::remove(out);
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  fmt::print(
      "in all {:.1f} s, {} threads, {} MB resident at most\n",
      stop_clock::now(CLOCK_MONOTONIC) - started, pool.threads(), usage.ru_maxrss / 1024);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4)
    return fmt::print(stderr, "bench_fine_tune MODEL.gguf CHATS.jsonl EPOCHS [FOLDER]\n"), 2;
  try {
    return run(argv[1], argv[2], std::uint32_t(std::atoi(argv[3])), argc > 4 ? argv[4] : "");
  } catch (const base::failure& e) {
    return fmt::print(stderr, "{}\n", e.what()), 1;
  }
}
