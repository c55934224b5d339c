// The answering side of enrolment (runtime/link/enrol.hpp), on one conversation.
#pragma once
#include <functional>

#include "runtime/link/detail/conversation.hpp"
#include "runtime/link/enrol.hpp"

namespace dlls::runtime::link::detail {

// Runs a function on the conversation's thread; may be called from any thread, at any time, and
// does nothing once that thread has ended.
using poster = std::function<void(std::function<void()>)>;

// Reads one request and answers it, with a certificate or a refusal. Gives what it refused with.
asio::awaitable<base::result<>> serve_join(
    std::shared_ptr<conversation> talk, std::shared_ptr<const enrolment> with, poster post);

}  // namespace dlls::runtime::link::detail
