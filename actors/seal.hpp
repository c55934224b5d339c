// From what a run left to a sealed result: files into the artifact store, the model into the model
// store.
#pragma once
#include <stop_token>

#include "actors/job_run.hpp"
#include "actors/messages.hpp"
#include "actors/model_store.hpp"
#include "base/error.hpp"
#include "ledger/artifact_store.hpp"

namespace dlls::actors {

// Blocks on the disk. After success every artifact of the manifest is durable; sealing the same
// result again is harmless. storage_full, io; cancelled when `abandoned` asked for it before the
// model was added.
base::result<manifest> seal_result(
    run_result result, const job_ref& job, model_store& models, const ledger::artifact_store& store,
    std::stop_token abandoned = {});

}  // namespace dlls::actors
