// Sends the webhooks that the ledger's outbox holds: at least once, always under the same id, on a
// schedule that ends after three days. Wakes when a row was written or falls due, never by polling.
#pragma once
#include <caf/typed_actor.hpp>
#include <functional>
#include <memory>
#include <optional>

#include "actors/coordinator.hpp"
#include "base/random.hpp"
#include "gateway/webhook.hpp"

namespace dlls::actors {

using outbox_actor = caf::typed_actor<caf::reacts_to<wake>>;

// gateway::send_webhook, or a test's own. Blocks.
using send_function = std::function<base::result<gateway::webhook_outcome>(
    const gateway::webhook_target&, const gateway::webhook_message&, std::int64_t now_s)>;

struct outbox_services {
  std::shared_ptr<ledger::ledger> jobs;
  std::shared_ptr<runtime::worker_pool> network;  // deliveries block on their receiver
  send_function deliver;
  const base::clock* clock = &base::system_clock();
  std::uint64_t seed = 0;  // of the schedule's jitter
};

class outbox final : public runtime::co_actor<outbox_actor> {
 public:
  outbox(caf::actor_config& config, outbox_services services);
  behavior_type make_behavior() override;

 private:
  runtime::task<> send_all();
  runtime::task<bool> send_due();
  runtime::task<> send_one(ledger::outbox_row row);
  void look(wake);

  outbox_services services_;
  ledger_calls<outbox> ledger_;
  base::random_source random_;
  std::optional<runtime::resolver<bool>> wake_;
  bool looked_ = false;  // a row was written while we were busy
};

}  // namespace dlls::actors
