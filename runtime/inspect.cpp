#include "runtime/inspect.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <caf/all.hpp>
#include <condition_variable>
#include <mutex>
#include <unordered_map>

#include "runtime/detail/answer.hpp"
#include "runtime/detail/core.hpp"
#include "runtime/detail/directory.hpp"

namespace dlls::runtime {

using std::chrono::nanoseconds;

namespace detail {
namespace {

constexpr auto none = static_cast<std::size_t>(-1);

// One job as it is found, and its place among the others.
struct found_job {
  job* self = nullptr;
  time_point began{};
  std::vector<wait_view> waits;
  std::size_t first_part = none, last_part = none, next_sibling = none;
  std::size_t parts = 0;
};

// All of one actor, on its turn: every job is suspended then.
class survey {
 public:
  explicit survey(core& of) : core_(of), now_(of.now()) {
    const auto node = to_string(of.self().node());
    own_node_ = "@" + node;
    find_jobs();
    find_parts();
    find_waits();
  }
  void fill(actor_view& view, std::size_t tasks_max) {
    std::vector<std::pair<std::size_t, std::size_t>> open;  // a job, its depth
    for (auto i = jobs_.size(); i-- > 0;)
      if (!is_part(i)) open.emplace_back(i, 0);
    while (!open.empty()) {
      const auto [index, depth] = open.back();
      open.pop_back();
      const auto begin = open.size();
      for (auto p = jobs_[index].first_part; p != none; p = jobs_[p].next_sibling)
        open.emplace_back(p, depth + 1);
      std::reverse(open.begin() + static_cast<std::ptrdiff_t>(begin), open.end());
      if (view.tasks.size() < tasks_max)
        view.tasks.push_back(shown(jobs_[index], depth));
      else
        ++view.tasks_left_out;
    }
  }

 private:
  void find_jobs() {
    core_.loop().for_each_job([&](job& one) {
      places_.emplace(&one, jobs_.size());
      jobs_.push_back({.self = &one, .began = one.began});
    });
  }
  bool is_part(std::size_t index) const {
    const auto* parent = jobs_[index].self->parent();
    return parent && places_.contains(parent);
  }
  // Parts start after their whole, and their own parts after them.
  void find_parts() {
    for (std::size_t i = 0; i < jobs_.size(); ++i) {
      if (!is_part(i)) continue;
      auto& whole = jobs_[places_.at(jobs_[i].self->parent())];
      (whole.first_part == none ? whole.first_part : jobs_[whole.last_part].next_sibling) = i;
      whole.last_part = i;
      ++whole.parts;
    }
    for (auto i = jobs_.size(); i-- > 0;) {
      if (!is_part(i) || jobs_[i].began == time_point{}) continue;
      auto& whole = jobs_[places_.at(jobs_[i].self->parent())];
      whole.began =
          whole.began == time_point{} ? jobs_[i].began : std::min(whole.began, jobs_[i].began);
    }
  }
  void find_waits() {
    core_.calls().for_each([&](const operation& op) {
      if (op.owner) add_wait(op.owner, op.describe(), op.since());
    });
    core_.loop().for_each_quiet_wait(
        [&](const quiet_wait& w) { add_wait(w.owner, w.what, w.since); });
    for (auto& one : jobs_) {
      if (one.parts > 0) {
        auto since = now_;
        for (auto p = one.first_part; p != none; p = jobs_[p].next_sibling)
          if (jobs_[p].began != time_point{}) since = std::min(since, jobs_[p].began);
        add_wait(one.self, fmt::format("{} parts of a gather or a race", one.parts), since);
      }
      const auto* handler = dynamic_cast<const handler_job*>(one.self);
      if (handler && handler->waits_for_credit())
        add_wait(one.self, "room at whoever takes its values", handler->yielding_since());
    }
  }
  void add_wait(const job* whose, std::string what, time_point since) {
    const auto found = places_.find(whose);
    if (found == places_.end()) return;
    jobs_[found->second].waits.push_back({local(std::move(what)), now_ - since});
  }
  task_view shown(found_job& from, std::size_t depth) {
    task_view task;
    task.depth = depth;
    task.what = from.self->name();
    if (const auto* handler = dynamic_cast<const handler_job*>(from.self)) {
      task.what = "handler of " + task.what;
      if (const auto* asker = handler->owed().asker())
        task.what += ", asked by " + local(describe(*asker));
      if (handler->detached()) task.what += ", detached";
    }
    if (from.began != time_point{}) {
      task.age = now_ - from.began;
      // Only now, since a handler's deadline counts from the first look at it.
      if (const auto due = from.self->deadline(now_); due != no_deadline)
        task.time_left = std::max<nanoseconds>(due - now_, nanoseconds{0});
    }
    task.waits = std::move(from.waits);
    return task;
  }
  // The own node's id, long as it is, says nothing.
  std::string local(std::string text) const {
    if (const auto at = text.find(own_node_); at != text.npos) text.erase(at, own_node_.size());
    return text;
  }

  core& core_;
  time_point now_;
  std::string own_node_;
  std::vector<found_job> jobs_;
  std::unordered_map<const job*, std::size_t> places_;
};

}  // namespace
}  // namespace detail

// Shared with the questions, which may be answered long after the snapshot has gone.
class snapshot_state {
 public:
  explicit snapshot_state(std::size_t tasks_max) : tasks_max_(tasks_max) {}
  static void ask(const std::shared_ptr<snapshot_state>& self, caf::actor_system& system);
  bool wait(nanoseconds within) {
    std::unique_lock lock{mutex_};
    return settled_.wait_for(lock, within, [&] { return open_ == 0; });
  }
  std::vector<actor_view> take() {
    const std::scoped_lock lock{mutex_};
    std::vector<actor_view> all;
    for (const auto& one : places_)
      if (!one.gone) all.push_back(one.view);
    return all;
  }
  std::size_t tasks_max() const noexcept { return tasks_max_; }
  // One that has answered, or has ended.
  void settle(std::size_t index, std::optional<actor_view> answer) {
    const std::scoped_lock lock{mutex_};
    auto& place = places_[index];
    place.gone = !answer;
    if (answer) {
      answer->id = place.view.id;
      answer->name = std::move(place.view.name);
      place.view = std::move(*answer);
    }
    if (--open_ == 0) settled_.notify_all();
  }

 private:
  struct place {
    actor_view view;
    bool gone = false;
  };
  const std::size_t tasks_max_;
  std::mutex mutex_;
  std::condition_variable settled_;
  std::vector<place> places_;
  std::size_t open_ = 0;
};

namespace {

class question final : public detail::probe {
 public:
  question(std::shared_ptr<snapshot_state> to, std::size_t index)
      : to_(std::move(to)), index_(index) {}
  ~question() override { to_->settle(index_, std::move(answer_)); }
  void visit(detail::core& of) noexcept override {
    actor_view view;
    view.condition = actor_condition::answered;
    detail::survey{of}.fill(view, to_->tasks_max());
    answer_ = std::move(view);
  }

 private:
  std::shared_ptr<snapshot_state> to_;
  std::size_t index_;
  std::optional<actor_view> answer_;
};

std::string time_text(nanoseconds time) {
  const auto s = std::chrono::duration<double>(time).count();
  if (s < 1) return fmt::format("{:.0f} ms", s * 1e3);
  if (s < 100) return fmt::format("{:.1f} s", s);
  if (s < 100 * 60) return fmt::format("{:.0f} min", s / 60);
  if (s < 48 * 3600) return fmt::format("{:.1f} h", s / 3600);
  return fmt::format("{:.0f} days", s / 86400);
}

std::string_view name_of(actor_condition c) {
  switch (c) {
    case actor_condition::answered:
      return "answered";
    case actor_condition::busy:
      return "busy";
    case actor_condition::starting:
      return "starting";
  }
  return "";
}

void add_task(std::string& to, const task_view& task) {
  const std::string indent(2 + 4 * task.depth, ' ');
  to += indent + task.what;
  if (task.age) to += ": " + time_text(*task.age);
  if (task.time_left) to += fmt::format(", {} left", time_text(*task.time_left));
  to += '\n';
  for (const auto& wait : task.waits)
    to += fmt::format("{}  waits {} for {}\n", indent, time_text(wait.age), wait.what);
  if (task.waits.empty())
    to += fmt::format(
        "{}  {}\n", indent,
        task.age ? "waits for something unknown" : "has not begun, or waits for something unknown");
}

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + '"';
}

std::string milliseconds_text(const std::optional<nanoseconds>& time) {
  if (!time) return "null";
  return fmt::format("{:.3f}", std::chrono::duration<double, std::milli>(*time).count());
}

template <class Items, class Text>
std::string joined(const Items& items, Text text) {
  std::string all;
  for (const auto& item : items) (all += all.empty() ? "" : ",") += text(item);
  return "[" + all + "]";
}

std::string json_of(const task_view& task) {
  return fmt::format(
      R"({{"what":{},"depth":{},"age_ms":{},"left_ms":{},"waits":{}}})", json_text(task.what),
      task.depth, milliseconds_text(task.age), milliseconds_text(task.time_left),
      joined(task.waits, [](const wait_view& wait) {
        return fmt::format(
            R"({{"what":{},"age_ms":{}}})", json_text(wait.what), milliseconds_text(wait.age));
      }));
}

}  // namespace

// Outside of any lock: an actor that has ended settles its place within send().
void snapshot_state::ask(const std::shared_ptr<snapshot_state>& self, caf::actor_system& system) {
  auto found = detail::directory::of(system);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  {
    const std::scoped_lock lock{self->mutex_};
    for (auto& one : found) {
      const auto condition = one.actor ? actor_condition::busy : actor_condition::starting;
      actor_view view;
      view.id = one.id;
      view.name = std::move(one.name);
      view.condition = condition;
      self->places_.push_back({std::move(view), false});
      if (one.actor) ++self->open_;
    }
  }
  for (std::size_t i = 0; i < found.size(); ++i)
    if (found[i].actor)
      detail::directory::send(found[i].actor, std::make_shared<question>(self, i));
}

snapshot::snapshot(caf::actor_system& system, std::size_t tasks_max)
    : state_(std::make_shared<snapshot_state>(tasks_max)) {
  snapshot_state::ask(state_, system);
}
bool snapshot::wait(nanoseconds within) { return state_->wait(within); }
std::vector<actor_view> snapshot::take() const { return state_->take(); }

std::vector<actor_view> inspect(caf::actor_system& system, inspect_options how) {
  snapshot all{system, how.tasks_max};
  all.wait(how.within);
  return all.take();
}

std::string to_text(const std::vector<actor_view>& actors) {
  std::size_t tasks = 0;
  for (const auto& actor : actors) tasks += actor.tasks.size() + actor.tasks_left_out;
  auto all = fmt::format("{} actors, {} tasks\n", actors.size(), tasks);
  for (const auto& actor : actors) {
    all += fmt::format("actor {}  {}", actor.id, actor.name);
    if (actor.condition != actor_condition::answered)
      all += fmt::format("  ({})", name_of(actor.condition));
    all += '\n';
    for (const auto& task : actor.tasks) add_task(all, task);
    if (actor.tasks_left_out > 0) all += fmt::format("  and {} more\n", actor.tasks_left_out);
  }
  return all;
}

std::string to_json(const std::vector<actor_view>& actors) {
  return fmt::format(
      R"({{"actors":{}}})", joined(actors, [](const actor_view& actor) {
        return fmt::format(
            R"({{"id":{},"name":{},"condition":"{}","tasks":{},"tasks_left_out":{}}})", actor.id,
            json_text(actor.name), name_of(actor.condition),
            joined(actor.tasks, [](const task_view& task) { return json_of(task); }),
            actor.tasks_left_out);
      }));
}

void list_actors(caf::actor_system_config& config) { detail::directory::install(config); }

}  // namespace dlls::runtime
