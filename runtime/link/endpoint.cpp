#include "runtime/link/endpoint.hpp"

#include "base/check.hpp"
#include "runtime/link/detail/core.hpp"

namespace dlls::runtime::link {

struct endpoint::impl {
  std::shared_ptr<detail::core> core;
};

endpoint::endpoint(caf::actor_system& system, options opts)
    : impl_(std::make_unique<impl>(impl{std::make_shared<detail::core>(system, std::move(opts))})) {
  impl_->core->start();
}

endpoint::~endpoint() { impl_->core->stop(); }

base::result<std::uint16_t> endpoint::listen(
    const std::string& address, std::uint16_t port, const credentials& own,
    const std::string& accept_role, acceptor_events events, std::optional<enrolment> enrolment) {
  base::check(events.make_door != nullptr, "a listener makes doors");
  auto context = detail::link_context(own);
  if (!context) return context.error();
  auto rules = std::make_shared<detail::tls_rules>();
  rules->peer_role = accept_role;
  rules->version = impl_->core->opts().protocol_version;
  rules->joins = enrolment.has_value();
  std::shared_ptr<const link::enrolment> join;
  if (enrolment) join = std::make_shared<const link::enrolment>(std::move(*enrolment));
  return impl_->core->listen(
      address, port,
      std::make_shared<detail::listener>(
          detail::listener{*context, std::move(rules), std::move(events), std::move(join)}));
}

void endpoint::dial(
    dial_request request, std::function<void(base::result<linked>)> done,
    std::function<void(std::string)> on_closed) {
  base::check(done != nullptr, "a dialer wants an answer");
  impl_->core->dial(std::move(request), std::move(done), std::move(on_closed));
}

std::uint32_t endpoint::protocol_version() const noexcept {
  return impl_->core->opts().protocol_version;
}

}  // namespace dlls::runtime::link
