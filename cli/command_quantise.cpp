// dlls quantize: a model file with smaller weights.
#include <fmt/core.h>

#include <chrono>
#include <csignal>

#include "cli/command.hpp"
#include "cli/progress_bar.hpp"
#include "kernels/parallel.hpp"
#include "model/quantise.hpp"

namespace dlls::cli {
using base::result;

namespace {

struct quantise_flags {
  std::string from, to, type;
  bool force = false;
  unsigned threads = 0;
};

// SIGINT or SIGTERM has come; they are blocked, so it waits to be asked for.
bool interrupted() noexcept {
  sigset_t waiting;
  sigemptyset(&waiting);
  sigpending(&waiting);
  return sigismember(&waiting, SIGINT) == 1 || sigismember(&waiting, SIGTERM) == 1;
}

bool already_quantised(const model::gguf_file& file) noexcept {
  for (const auto& t : file.tensors())
    if (kernels::is_quantised(model::element_of(t.type))) return true;
  return false;
}

void tell(const model::quantised_size& size, const quantise_flags& how) {
  const auto before = static_cast<double>(size.bytes_before);
  const auto after = static_cast<double>(size.bytes_after);
  fmt::print(
      "{}: {}, {:.2f} bits a weight, {:.1f} % of the {} of {}\n", how.to, bytes_text(after),
      size.bits_per_value, 100 * after / before, bytes_text(before), how.from);
  if (size.fallbacks > 0)
    fmt::print(
        "{} matrices have rows of no whole 256 and got the nearest type in blocks of 32\n",
        size.fallbacks);
}

result<int> quantise(const quantise_flags& how) {
  const auto as = model::quantisation_named(how.type);
  if (!as) return as.error();
  auto file = model::gguf_file::open(how.from);
  if (!file) return file.error();
  if (already_quantised(**file) && as->file_type != 1)
    fmt::print(stderr, "dlls: {} is quantised already: what that has lost stays lost\n", how.from);
  block_signals();  // before the pool has threads
  kernels::thread_pool pool(how.threads);
  progress_bar bar("quantize", progress_bar::pace::seconds);
  const auto began = std::chrono::steady_clock::now();
  auto done = model::quantise_file(
      **file, how.to, *as, how.force, pool, [&](std::uint64_t values, std::uint64_t all) {
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - began;
        const double rate = static_cast<double>(values) / passed.count();
        const auto left = static_cast<double>(all - values) / std::max(rate, 1.0);
        bar.show(
            values, all,
            values == 0 ? "" : fmt::format("{:.0f} M/s, {} left", rate / 1e6, duration_text(left)));
        return !interrupted();
      });
  bar.finish();
  if (!done) {
    auto why = done.error();
    if (why.code == base::errc::already_exists) why.hint = "--force replaces it";
    if (why.code == base::errc::cancelled) why.hint = "nothing was written";
    return why;
  }
  tell(*done, how);
  return 0;
}

}  // namespace

void add_quantise(program& to) {
  auto how = std::make_shared<quantise_flags>();
  auto* command = add_command(
      to, "quantize", "write a model file with smaller weights",
      [how](const settings&) { return quantise(*how); });
  std::string names;
  for (const auto& one : model::quantisations())
    names += (names.empty() ? "" : ", ") + std::string{one.name};
  command->add_option("from", how->from, "a GGUF file, best F16, BF16 or F32")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("to", how->to, "the file to write")->required();
  command->add_option("--type", how->type, names)->required();
  command->add_flag("--force", how->force, "replace a file that is there");
  command->add_option("--threads", how->threads, "default: one a core");
}

}  // namespace dlls::cli
