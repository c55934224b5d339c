// Every limit that two rooms must agree on, named once, with unit and reason. A limit of one room
// alone stands in that room's header.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace dlls::base::limits {

using namespace std::chrono_literals;

// The protocol both ends of a link must speak; raised with every incompatible change of
// messages.hpp.
inline constexpr std::uint32_t protocol_version = 5;

// One chunk of an artifact on the link: large enough that framing is below 1 %, small enough that a
// control message behind it waits at most 27 ms on a 20 Mbit/s line.
inline constexpr std::size_t chunk_bytes = 64u << 10;
// One frame of the link: a chunk and its envelope; chat prompts are bounded below it.
inline constexpr std::size_t frame_bytes_max = 1u << 20;
// What waits for a peer that does not read: a hundred transfers of eight chunks.
inline constexpr std::size_t unsent_bytes_max = 64u << 20;
// A prompt, a set of messages or a job specification as it crosses the link.
inline constexpr std::size_t request_bytes_max = 512u << 10;

// An uploaded file (OpenAI: 512 MB).
inline constexpr std::uint64_t file_bytes_max = 512ull << 20;
// An artifact of a job, weights included.
inline constexpr std::uint64_t artifact_bytes_max = 64ull << 30;

// Kernel keepalive: the node below the 350 s at which NAT gateways cut, the coordinator rarely,
// only to notice a half-open link (docs/architecture.md has the bytes a day).
inline constexpr auto keepalive_node = 240s;
inline constexpr auto keepalive_coordinator = 900s;
inline constexpr auto tcp_user_timeout = 30s;

// A lease outlives a lost link by this long.
inline constexpr auto lease_grace = 10min;
// A status ask that is not answered within this time makes the job lost_contact.
inline constexpr auto status_answer = 30s;

}  // namespace dlls::base::limits
