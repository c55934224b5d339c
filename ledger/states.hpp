// The states of a job and the edges between them: the one table that every backend obeys.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

namespace dlls::ledger {

// Stored and sent by name; the numbers are private to this process.
enum class job_state : std::uint8_t {
  submitted,     // the client's request is committed
  queued,        // its inputs are validated
  offered,       // granted to a node: attempt and fence one higher
  running,       // the node answered `received`
  ready,         // the result is sealed on the node's disk, its manifest verified
  fetched,       // the default pick-up is verified in the cloud
  released,      // end: the owner acknowledged, or retention ended
  failed,        // end
  cancelled,     // end
  expired,       // end: a deadline or retention passed
  lost_contact,  // a pause of offered or running, remembered in job::paused_from
};
inline constexpr std::size_t job_state_count = 11;

// "lost_contact". Never fails.
std::string_view name(job_state state) noexcept;
// Empty for a name that is not a state's.
std::optional<job_state> parse_job_state(std::string_view name) noexcept;

// A set of states; a value, usable in constant expressions.
class state_set {
 public:
  constexpr state_set() = default;
  constexpr state_set(job_state one) : bits_(bit(one)) {}
  constexpr state_set(std::initializer_list<job_state> states) {
    for (auto s : states) bits_ = static_cast<std::uint16_t>(bits_ | bit(s));
  }
  constexpr bool contains(job_state s) const { return (bits_ & bit(s)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  friend constexpr bool operator==(state_set, state_set) = default;

 private:
  static constexpr std::uint16_t bit(job_state s) {
    return static_cast<std::uint16_t>(1u << static_cast<unsigned>(s));
  }
  std::uint16_t bits_ = 0;
};

inline constexpr state_set final_states{
    job_state::released, job_state::failed, job_state::cancelled, job_state::expired};
// A result exists (the API's "succeeded").
inline constexpr state_set result_states{job_state::ready, job_state::fetched, job_state::released};
// A node holds the job under a lease; what `pause` turns into lost_contact.
inline constexpr state_set leased_states{job_state::offered, job_state::running};

// No edge leaves a final state.
constexpr bool is_final(job_state s) { return final_states.contains(s); }

// Who may write an edge. `advance` is the general one; attempt and fence change only by `grant`,
// and lost_contact returns to where it came from only by `resume`, so these edges have their own
// calls.
enum class edge_by : std::uint8_t { advance, grant, pause, resume };

struct legal_edge {
  job_state from;
  job_state to;
  edge_by by;
};

inline constexpr auto legal_edges = [] {
  using enum job_state;
  using enum edge_by;
  return std::to_array<legal_edge>({
      {submitted, queued, advance},
      {submitted, failed, advance},  // an input does not validate
      {submitted, cancelled, advance},
      {submitted, expired, advance},
      {queued, offered, grant},
      {queued, failed, advance},  // no node can ever do it
      {queued, cancelled, advance},
      {queued, expired, advance},
      {offered, running, advance},
      {offered, queued, advance},  // the node declined; the next grant raises the fence
      {offered, failed, advance},
      {offered, cancelled, advance},
      {offered, expired, advance},
      {offered, lost_contact, pause},
      {running, ready, advance},
      {running, failed, advance},
      {running, cancelled, advance},
      {running, expired, advance},
      {running, lost_contact, pause},
      {lost_contact, offered, grant},  // to another node, or to the same one anew
      {lost_contact, offered, resume},
      {lost_contact, running, resume},
      {lost_contact, ready, advance},  // the holder came back with the result
      {lost_contact, failed, advance},
      {lost_contact, cancelled, advance},
      {lost_contact, expired, advance},
      {ready, fetched, advance},
      {ready, failed, advance},  // the result can't be had any more (node gone, bytes corrupt)
      {ready, cancelled, advance},
      {ready, expired, advance},
      {fetched, released, advance},
  });
}();

constexpr bool is_legal(job_state from, job_state to, edge_by by) {
  for (const auto& e : legal_edges)
    if (e.from == from && e.to == to && e.by == by) return true;
  return false;
}

}  // namespace dlls::ledger
