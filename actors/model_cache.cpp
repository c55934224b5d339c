#include "actors/model_cache.hpp"

#include <algorithm>

#include "base/log.hpp"

namespace dlls::actors {
using base::result;

namespace {

result<std::shared_ptr<const loaded_model>> load(const stored_model& from) {
  auto file = model::gguf_file::open(from.path);
  if (!file) return file.error();
  auto weights = model::llama::load(*file, model::activations::q8);
  if (!weights) return weights.error();
  auto vocabulary = model::tokenizer::from(**file);
  if (!vocabulary) return vocabulary.error();
  auto how = model::chat_template::from(**file);
  if (!how) return how.error();
  if (auto ok = (*file)->intact(); !ok) return ok.error();
  auto masks = std::make_shared<const model::token_masks>(*vocabulary);
  return std::make_shared<const loaded_model>(
      loaded_model{from, *weights, *vocabulary, *how, std::move(masks)});
}

}  // namespace

result<std::shared_ptr<const loaded_model>> model_cache::get(const std::string& name) {
  auto wanted = store_.find(name);
  if (!wanted) return wanted.error();
  if (auto there = find(*wanted)) return there;
  const std::scoped_lock one_load{loading_};
  if (auto there = find(*wanted)) return there;
  auto loaded = load(*wanted);
  if (!loaded) return loaded.error();
  base::log_info("models", "loaded {} ({} MB)", name, (*loaded)->weights->bytes() >> 20);
  return keep(*loaded);
}

std::shared_ptr<const loaded_model> model_cache::find(const stored_model& wanted) {
  const std::scoped_lock lock{mutex_};
  const auto found = std::ranges::find_if(kept_, [&](const auto& one) {
    return one->from.name == wanted.name && one->from.created == wanted.created &&
           one->from.bytes == wanted.bytes;
  });
  if (found == kept_.end()) return nullptr;
  std::rotate(kept_.begin(), found, found + 1);
  return kept_.front();
}

std::shared_ptr<const loaded_model> model_cache::keep(std::shared_ptr<const loaded_model> one) {
  const std::scoped_lock lock{mutex_};
  std::erase_if(kept_, [&](const auto& old) { return old->from.name == one->from.name; });
  kept_.insert(kept_.begin(), one);
  std::uint64_t bytes = 0;
  const auto too_many = std::ranges::find_if(kept_, [&](const auto& k) {
    bytes += k->weights->bytes();
    return bytes > bytes_max_ && k != kept_.front();
  });
  kept_.erase(too_many, kept_.end());
  return one;
}

void model_cache::release(const std::shared_ptr<const loaded_model>& one) {
  const std::scoped_lock lock{mutex_};
  std::erase_if(kept_, [&](const auto& k) { return k == one && k.use_count() == 2; });
}

}  // namespace dlls::actors
