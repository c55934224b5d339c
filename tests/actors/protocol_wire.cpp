#include "tests/actors/protocol_wire.hpp"

#include <algorithm>

#include "runtime/ask.hpp"
#include "runtime/sleep.hpp"
#include "runtime/subscribe.hpp"
#include "tests/actors/protocol_world.hpp"

namespace dlls::tests {
using namespace actors;
using namespace std::chrono_literals;
using std::chrono::microseconds;

namespace {

template <class Message>
std::string short_name() {
  const std::string whole{runtime::wire_name<Message>()};
  return whole.substr(whole.rfind(':') + 1);
}
// Longer than any test.
constexpr auto ever = std::chrono::hours{24 * 365};

// Counted while it is under way, however that ends.
class travelling {
 public:
  explicit travelling(int& count) : count_(count) { ++count_; }
  ~travelling() { --count_; }
  travelling(const travelling&) = delete;
  travelling& operator=(const travelling&) = delete;

 private:
  int& count_;
};

base::error link_lost() { return {base::errc::unavailable, "the test cut the link"}; }

}  // namespace

wire::wire(caf::actor_config& config, world& in, std::string node, node_door at, cloud_door door)
    : co_actor(config),
      world_(in),
      node_(std::move(node)),
      at_(std::move(at)),
      door_(std::move(door)) {}

wire::behavior_type wire::make_behavior() {
  return {
      serve(&wire::to_cloud<welcome, hello>, detached),
      serve(&wire::from_cloud<chunk, fetch_input>),
      serve(&wire::to_cloud<noted, ready>, detached),
      serve(&wire::to_cloud<noted, failed>, detached),
      serve(&wire::tell_cloud<models_changed>, detached),
      serve(&wire::tell_cloud<progress>, detached),
      serve(&wire::to_node<received, offer>, detached),
      serve(&wire::from_node<chunk, pull>),
      serve(&wire::to_node<released, release>, detached),
      serve(&wire::to_node<cancelled, cancel>, detached),
      serve(&wire::to_node<job_status, status>, detached),
      serve(&wire::tell_node<watch>, detached),
      serve(&wire::from_node<piece, generate>),
      serve(&wire::from_node<embedded, embed>),
  };
}

void wire::on_exit() {
  at_ = nullptr;
  door_ = nullptr;
}

void wire::cut(microseconds cloud_learns, microseconds node_learns) {
  of(direction::down).end_known = cloud_learns;
  of(direction::up).end_known = node_learns;
}

runtime::task<bool> wire::pass(std::string name, direction way, direction asker) {
  if (!is_cut() && !world_.is_lost(name)) world_.passes(node_, name);  // may cut this link
  if (!is_cut() && world_.is_lost(name)) co_await runtime::sleep(this, ever);
  auto& ahead = of(way);
  auto arrives = world_.now() + world_.met().delay(node_, way);
  for (bool there = false; !there && !is_cut();) {
    if (ahead.under_way > 0) arrives = std::max(ahead.last_arrival + 1us, arrives);
    ahead.last_arrival = arrives;
    {
      const travelling counted{ahead.under_way};
      if (arrives > world_.now()) co_await runtime::sleep(this, arrives - world_.now());
    }
    const auto wait = is_cut() ? 0us : world_.met().blocked(node_, way);
    there = wait == 0us;
    arrives = world_.now() + wait;
  }
  if (!is_cut()) co_return true;
  const auto known = of(asker).end_known;
  if (known > world_.now()) co_await runtime::sleep(this, known - world_.now());
  co_return false;
}

// The second one goes its own way, and nobody waits for its answer.
template <class Handle, class Answer, class Message>
runtime::task<> wire::say_again(Handle to, direction way, Message message) {
  const auto name = short_name<Message>() + " again";
  co_await runtime::sleep(this, world_.met().again_after());
  if (is_cut()) co_return;
  world_.met().left(node_, name);
  const bool passed = co_await pass(name, way, way);
  if (!passed) co_return;
  (void)co_await runtime::try_ask(this, to, ever, std::move(message));
}

template <class Answer, class Message>
runtime::task<Answer> wire::to_cloud(Message message) {
  const auto name = short_name<Message>();
  world_.met().left(node_, name);
  constexpr bool is_end = std::is_same_v<Message, ready> || std::is_same_v<Message, failed>;
  if constexpr (is_end) {
    world_.met().said_ended(node_, message.job);
    if (world_.met().comes_again(name))
      tasks().spawn(say_again<cloud_door, Answer, Message>(door_, direction::up, message));
  }
  const bool there = co_await pass(name, direction::up, direction::up);
  if (!there) throw base::failure(link_lost());
  auto answer = co_await runtime::try_ask(this, door_, ever, std::move(message));
  world_.met().left(node_, name + (answer ? " answered" : " refused"));
  const auto answer_name = name + " answered";
  const bool back = co_await pass(answer_name, direction::down, direction::up);
  if (!back) throw base::failure(link_lost());
  if (!answer) throw base::failure(answer.error());
  co_return std::move(*answer);
}

template <class Answer, class Message>
runtime::task<Answer> wire::to_node(Message message) {
  const auto name = short_name<Message>();
  world_.met().left(node_, name);
  if (world_.met().comes_again(name))
    tasks().spawn(say_again<node_door, Answer, Message>(at_, direction::down, message));
  const bool there = co_await pass(name, direction::down, direction::down);
  if (!there) throw base::failure(link_lost());
  auto answer = co_await runtime::try_ask(this, at_, ever, std::move(message));
  world_.met().left(node_, name + (answer ? " answered" : " refused"));
  if constexpr (std::is_same_v<Answer, received>)
    if (answer) world_.met().acknowledged(node_, answer->job);
  const auto answer_name = name + " answered";
  const bool back = co_await pass(answer_name, direction::up, direction::down);
  if (!back) throw base::failure(link_lost());
  if (!answer) throw base::failure(answer.error());
  co_return std::move(*answer);
}

// A stream passes part by part, each as an answer.
template <class Value, class Handle, class Message>
runtime::stream<Value> wire::pass_parts(Handle from, direction way, Message message) {
  const auto back_way = way == direction::up ? direction::down : direction::up;
  const auto name = short_name<Message>(), answer_name = name + " answered";
  world_.met().left(node_, name);
  const bool there = co_await pass(name, way, way);
  if (!there) throw base::failure(link_lost());
  auto parts = runtime::subscribe(this, from, ever, std::move(message));
  for (;;) {
    auto next = co_await parts.try_next();
    world_.met().left(node_, name + (next ? " answered" : " refused"));
    const bool back = co_await pass(answer_name, back_way, way);
    if (!back) throw base::failure(link_lost());
    if (!next) throw base::failure(next.error());
    if (!*next) co_return;
    if constexpr (std::is_same_v<Message, pull>)
      if (world_.damages_chunk()) (*next)->bytes[0] ^= 1;
    co_yield std::move(**next);
  }
}

template <class Value, class Message>
runtime::stream<Value> wire::from_cloud(Message message) {
  return pass_parts<Value>(door_, direction::up, std::move(message));
}

template <class Value, class Message>
runtime::stream<Value> wire::from_node(Message message) {
  return pass_parts<Value>(at_, direction::down, std::move(message));
}

template <class Message>
runtime::task<> wire::tell_cloud(Message message) {
  const auto name = short_name<Message>();
  world_.met().left(node_, name);
  const bool passed = co_await pass(name, direction::up, direction::up);
  if (passed) send(door_, std::move(message));
}

template <class Message>
runtime::task<> wire::tell_node(Message message) {
  const auto name = short_name<Message>();
  world_.met().left(node_, name);
  const bool passed = co_await pass(name, direction::down, direction::down);
  if (passed) send(at_, std::move(message));
}

}  // namespace dlls::tests
