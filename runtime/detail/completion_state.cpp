#include "runtime/detail/completion_state.hpp"

#include <caf/actor_cast.hpp>
#include <caf/actor_control_block.hpp>
#include <caf/mailbox_element.hpp>

#include "runtime/detail/pending_calls.hpp"

namespace dlls::runtime::detail {

void completion_waker::wake() const noexcept {
  if (auto actor = caf::actor_cast<caf::strong_actor_ptr>(who)) {
    actor->enqueue(caf::make_mailbox_element(nullptr, id, {}, completion_signal{}), nullptr);
  }
}

}  // namespace dlls::runtime::detail
