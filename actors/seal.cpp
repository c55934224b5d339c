#include "actors/seal.hpp"

#include "base/sha256.hpp"

namespace dlls::actors {
using base::errc;
using base::result;

namespace {

result<artifact_ref> seal_file(const run_result::file& file, const ledger::artifact_store& store) {
  artifact_ref ref{file.name, base::sha256_hex(file.content), file.content.size()};
  auto writer = store.begin(ledger::expectation{ref.bytes, ref.sha256});
  if (!writer) {
    if (writer.error().code == errc::already_exists) return ref;
    return writer.error();
  }
  auto written = writer->write_at(0, std::as_bytes(std::span{file.content}));
  if (!written) return written.error();
  auto sealed = writer->seal();
  if (!sealed) return sealed.error();
  return ref;
}

}  // namespace

result<manifest> seal_result(
    run_result from, const job_ref& job, model_store& models, const ledger::artifact_store& store,
    std::stop_token abandoned) {
  manifest made;
  made.metrics_json = from.metrics_json;
  for (const auto& file : from.files) {
    auto ref = seal_file(file, store);
    if (!ref) return ref.error();
    made.artifacts.push_back(std::move(*ref));
  }
  if (from.model_name.empty()) return made;
  auto sha256 = base::sha256_file(from.model_file);
  if (!sha256) return sha256.error();
  // The last moment: an added model is served.
  if (abandoned.stop_requested()) return base::error{errc::cancelled, "the job was cancelled"};
  auto added = models.add(from.model_name, job.id, from.model_file);
  if (!added) return added.error();
  made.artifacts.emplace_back(std::string{model_artifact}, *sha256, added->bytes);
  made.model = from.model_name;
  return made;
}

}  // namespace dlls::actors
