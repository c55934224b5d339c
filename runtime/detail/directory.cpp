#include "runtime/detail/directory.hpp"

#include <cxxabi.h>

#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/scheduled_actor.hpp>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <typeinfo>

#include "runtime/detail/call_id.hpp"

namespace dlls::runtime::detail {
namespace {

// An actor that gives itself no name is called by its class.
std::string display_name(const caf::scheduled_actor& actor, const char* given) {
  if (std::string_view{given} != actor.caf::scheduled_actor::name()) return given;
  int failed = 0;
  const char* mangled = typeid(actor).name();
  const std::unique_ptr<char, decltype(&std::free)> readable{
      abi::__cxa_demangle(mangled, nullptr, nullptr, &failed), &std::free};
  return readable ? readable.get() : mangled;
}

}  // namespace

listing::listing(caf::scheduled_actor& self)
    : self_(self), home_(directory::find(self.home_system())) {
  if (!home_) return;
  auto& place = home_->shard_of(self.id());
  const std::scoped_lock lock{place.mutex};
  place.actors.push_back(*this);
}

void listing::begun() noexcept { name_.store(self_.name(), std::memory_order_release); }

void listing::leave() noexcept {
  if (!home_) return;
  {
    const std::scoped_lock lock{home_->shard_of(self_.id()).mutex};
    unlink();
  }
  home_ = nullptr;
}

directory* directory::find(caf::actor_system& system) noexcept {
  for (const auto& hook : system.config().thread_hooks_) {
    auto& one = *hook;
    if (typeid(one) == typeid(directory)) return static_cast<directory*>(&one);
  }
  return nullptr;
}

void directory::install(caf::actor_system_config& config) { config.add_thread_hook<directory>(); }

std::vector<directory::entry> directory::of(caf::actor_system& system) {
  std::vector<entry> all;
  if (auto* here = find(system))
    for (auto& one : here->shards_) list(one, system, all);
  return all;
}

// A listing on the list belongs to an actor that is not destroyed yet, but it may be about to be:
// then its last handle has gone, and the upgrade fails.
void directory::list(shard& from, const caf::actor_system& of, std::vector<entry>& into) {
  const std::scoped_lock lock{from.mutex};
  from.actors.for_each([&](listing& one) {
    if (&one.self_.home_system() != &of) return;  // two systems may share a configuration
    entry next;
    next.id = one.self_.id();
    if (const auto* given = one.name_.load(std::memory_order_acquire)) {
      next.name = display_name(one.self_, given);
      next.actor = caf::actor_cast<caf::strong_actor_ptr>(one.self_.address());
      if (!next.actor) return;
    }
    into.push_back(std::move(next));
  });
}

void directory::send(const caf::strong_actor_ptr& to, std::shared_ptr<probe> who) {
  const call_id id{call_kind::signal, 0, call_id::number_max};  // 0 is the clock's
  to->enqueue(
      caf::make_mailbox_element(nullptr, id.response(), {}, probe_signal{std::move(who)}), nullptr);
}

}  // namespace dlls::runtime::detail
