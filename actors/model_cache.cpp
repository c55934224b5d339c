#include "actors/model_cache.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::result;

namespace {

// Rounded up: what takes room is never "0 MiB".
std::uint64_t mib(std::uint64_t bytes) { return (bytes + (1u << 20) - 1) >> 20; }

result<std::shared_ptr<const loaded_model>> load(
    const stored_model& from, kernels::thread_pool* compute) {
  auto file = model::gguf_file::open(from.path);
  if (!file) return file.error();
  constexpr auto how = model::activations::q8;
  auto weights =
      compute ? model::llama::load(*file, how, *compute) : model::llama::load(*file, how);
  if (!weights) return weights.error();
  auto vocabulary = model::tokenizer::from(**file);
  if (!vocabulary) return vocabulary.error();
  auto turns = model::chat_template::from(**file);
  if (!turns) return turns.error();
  if (auto ok = (*file)->intact(); !ok) return ok.error();
  auto masks = std::make_shared<const model::token_masks>(*vocabulary);
  return std::make_shared<const loaded_model>(
      loaded_model{from, *weights, *vocabulary, *turns, std::move(masks)});
}

}  // namespace

result<std::shared_ptr<const loaded_model>> model_cache::get(const std::string& name) {
  auto wanted = store_.find(name);
  if (!wanted) return wanted.error();
  if (auto there = find(*wanted)) return there;
  const std::scoped_lock one_load{loading_};
  if (auto there = find(*wanted)) return there;
  if (auto room = make_room(*wanted); !room) return room.error();
  auto loaded = load(*wanted, compute_.get());
  if (!loaded) return loaded.error();
  base::log_info("models", "loaded {} ({} MiB)", name, (*loaded)->weights->bytes() >> 20);
  const std::scoped_lock lock{mutex_};
  kept_.insert(kept_.begin(), *loaded);
  return *loaded;
}

std::shared_ptr<const loaded_model> model_cache::find(const stored_model& wanted) {
  const std::scoped_lock lock{mutex_};
  const auto found = std::ranges::find_if(kept_, [&](const auto& one) {
    return one->from.name == wanted.name && one->from.mark == wanted.mark;
  });
  if (found == kept_.end()) return nullptr;
  std::rotate(kept_.begin(), found, found + 1);
  return kept_.front();
}

// Before the load, so that the old and the new one never stand in memory together. Weights take
// about what their file does.
result<> model_cache::make_room(const stored_model& wanted) {
  if (wanted.bytes > bytes_max_)
    return error{
        errc::failed_precondition,
        fmt::format(
            "model '{}' takes {} MiB, and {} MiB are set aside for models", wanted.name,
            mib(wanted.bytes), mib(bytes_max_)),
        "raise models_mib of the node"};
  const std::scoped_lock lock{mutex_};
  std::uint64_t bytes = wanted.bytes;
  for (const auto& one : kept_) bytes += one->from.bytes;
  // Nobody gets hold of an unused one while the lock is held.
  const auto is_unused = [](const auto& one) { return one.use_count() == 1; };
  auto unused_bytes = std::uint64_t{0};
  for (const auto& one : kept_)
    if (is_unused(one)) unused_bytes += one->from.bytes;
  if (bytes - unused_bytes > bytes_max_)
    return error{
        errc::resource_exhausted,
        fmt::format(
            "model '{}' takes {} MiB; of the {} MiB set aside for models, {} MiB are in use",
            wanted.name, mib(wanted.bytes), mib(bytes_max_),
            mib(bytes - unused_bytes - wanted.bytes)),
        "try again when other models have answered"};
  while (bytes > bytes_max_) {
    const auto unused = std::find_if(kept_.rbegin(), kept_.rend(), is_unused);
    bytes -= (*unused)->from.bytes;
    base::log_info("models", "dropped {} to make room", (*unused)->from.name);
    kept_.erase(std::next(unused).base());
  }
  return {};
}

void model_cache::release(const std::shared_ptr<const loaded_model>& one) {
  const std::scoped_lock lock{mutex_};
  std::erase_if(kept_, [&](const auto& k) { return k == one && k.use_count() == 2; });
}

}  // namespace dlls::actors
