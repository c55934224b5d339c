// The one list of what crosses the link: what is announced to CAF and what the gate lets through.
#pragma once
#include "actors/messages.hpp"
#include "runtime/announce.hpp"
#include "runtime/link/options.hpp"

namespace dlls::actors {

using wire_types = runtime::message_list<
    job_ref, artifact_ref, manifest, link_account, held_job, served_model, tool_call, chat_turn,
    bias, tool_offer, generation_spec, alternative, token_info, hello, welcome, models_changed,
    fetch_input, chunk, runtime::part<chunk>, ready, failed, noted, progress, offer, received, pull,
    release, released, cancel, cancelled, status, job_status, watch, generate, piece,
    runtime::part<piece>, embed, embedded, runtime::part<embedded>>;
static_assert(wire_types::covers<cloud_door> && wire_types::covers<node_door>);

// Limits of the link with exactly the protocol's messages allowed.
runtime::link::options link_options();

}  // namespace dlls::actors
