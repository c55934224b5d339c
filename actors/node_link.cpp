// How a node stays linked: dial, greet, deliver what is due, and again when the link is lost.
#include <atomic>

#include "actors/node.hpp"
#include "base/log.hpp"
#include "runtime/ask.hpp"
#include "runtime/sleep.hpp"
#include "runtime/subscribe.hpp"

namespace dlls::actors {
using base::errc;
using base::result;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

// A door that does not answer within this time on an open link is retried later, over the same
// link.
constexpr auto answer_within = 30s;
constexpr auto redeliver_first = 5s;
constexpr auto redeliver_most = 300s;
// After the acknowledgement has certainly left, the silence is measured.
constexpr auto silence_begins = 1s;

}  // namespace

// One attempt. The closing of a link is a message of its own: it may come before its opening was
// handled.
void node::connect(runtime::resolver<std::shared_ptr<session>> done) {
  auto epoch = std::make_shared<std::atomic<std::uint64_t>>(0);
  auto self = caf::actor_cast<node_actor>(this);
  services_.connect(
      caf::actor_cast<caf::strong_actor_ptr>(this),
      [done, epoch](result<session> made) {
        if (!made) return done(made.error());
        *epoch = made->epoch;
        done(std::make_shared<session>(std::move(*made)));
      },
      [self, epoch](std::string why) {
        link_end end;
        end.epoch = *epoch;
        end.why = std::move(why);
        caf::anon_send(self, std::move(end));
      });
}

runtime::task<> node::stay_linked() {
  auto pause = services_.reconnect.first;
  for (;;) {
    auto dial = [this](runtime::resolver<std::shared_ptr<session>> done) { connect(done); };
    auto fresh = co_await runtime::try_completion<std::shared_ptr<session>>(this, dial);
    if (fresh && co_await greet(*fresh)) {
      pause = services_.reconnect.first;
      if (session_ == *fresh) {
        auto keep = [this](runtime::resolver<std::string> closed) { closed_ = std::move(closed); };
        auto why = co_await runtime::try_completion<std::string>(this, keep);
        base::log_warning("node", "link lost: {}", why ? *why : why.error().text());
      }
    } else if (!fresh) {
      base::log_warning("node", "no link: {}", fresh.error().text());
    }
    const auto jitter =
        static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(pause.count()) / 2 + 1));
    co_await runtime::sleep(this, pause + milliseconds{jitter});
    pause = std::min(pause * 2, services_.reconnect.most);
  }
}

// Says hello and does what the answer asks; true when the session stands.
runtime::task<bool> node::greet(std::shared_ptr<session> fresh) {
  session_ = fresh;
  hello message;
  message.protocol = base::limits::protocol_version;
  message.software = "dlls " DLLS_VERSION;
  message.kinds = known_kinds();
  message.models = co_await models();
  for (const auto& [id, job] : jobs_)
    message.held.emplace_back(job.entry.order.job, job.entry.state);
  auto answer = co_await runtime::try_ask(this, fresh->door, answer_within, std::move(message));
  if (!answer) {
    base::log_warning("node", "the coordinator does not welcome us: {}", answer.error().text());
    if (session_ == fresh) session_ = nullptr;
    fresh->close("not welcome");
    co_return false;
  }
  base::log_info("node", "linked (session {})", answer->epoch);
  for (const auto& job : answer->drop)
    if (find(job)) co_await drop(job.id);
  for (const auto& [id, job] : jobs_)
    if (job.entry.state != held_state::accepted) deliver_soon(id);
  co_return session_ == fresh;
}

void node::link_closed(link_end end) {
  if (!session_ || session_->epoch != end.epoch) return;
  session_ = nullptr;
  if (auto waiting = std::exchange(closed_, std::nullopt)) (*waiting)(end.why);
}

void node::deliver_soon(const std::string& id) {
  auto& job = jobs_.at(id);
  if (!session_ || job.delivering) return;
  job.delivering = true;
  tasks().spawn(deliver(job.entry.order.job));
}

// "Ready, come and get it", or "it failed", until the cloud has noted it.
runtime::task<> node::deliver(job_ref ref) {
  auto pause = std::chrono::seconds{redeliver_first};
  // Without a link it ends: the next welcome starts again. So it does when the job is granted anew.
  for (auto* job = find(ref); job && session_; job = find(ref)) {
    const auto on = session_;
    result<noted> answer = base::error{};
    if (job->entry.state == held_state::sealed) {
      ready word;
      word.job = ref;
      word.result = job->entry.result;
      word.silence_measured = job->silence.has_value();
      word.silence = job->silence.value_or(link_account{});
      answer = co_await runtime::try_ask(this, on->door, answer_within, std::move(word));
    } else {
      failed word;
      word.job = ref;
      word.code = static_cast<std::uint8_t>(job->entry.why.code);
      word.message = job->entry.why.message;
      answer = co_await runtime::try_ask(this, on->door, answer_within, std::move(word));
    }
    if (answer) {
      if (answer->drop && find(ref)) co_await drop(ref.id);
      break;
    }
    if (session_ != on) continue;
    base::log_warning("node", "job {} not noted yet: {}", ref.id, answer.error().text());
    co_await runtime::sleep(this, pause);
    pause = std::min<std::chrono::seconds>(pause * 2, redeliver_most);
  }
  if (auto* job = find(ref)) job->delivering = false;
}

runtime::task<> node::begin_silence(job_ref job) {
  co_await runtime::sleep(this, silence_begins);
  auto* entry = find(job);
  if (!entry || !session_ || entry->entry.state != held_state::accepted) co_return;
  entry->quiet_since = session_->account();
  entry->quiet_epoch = session_->epoch;
}

std::optional<link_account> node::silence_of(const held& job) const {
  if (!job.quiet_since || !session_ || job.quiet_epoch != session_->epoch) return std::nullopt;
  const auto now = session_->account();
  return link_account{now.bytes - job.quiet_since->bytes, now.packets - job.quiet_since->packets};
}

result<chunks> node::open_input(job_ref job, std::string sha256, std::uint64_t offset) {
  if (!session_) return base::error{errc::unavailable, "the link is down"};
  fetch_input request{std::move(job), std::move(sha256), offset};
  return runtime::subscribe(
      this, session_->door, answer_within, std::move(request), transfer_window);
}

}  // namespace dlls::actors
