// One run of the job protocol in one thread: 1 to 3 nodes, several jobs, hours of virtual time, and
// everything that a network, a power cut and an impatient owner do to them. All of it is drawn from
// the seed: the same seed gives the same run.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace dlls::tests {

struct outcome {
  std::uint64_t trace = 0;  // over every turn, message and fault
  std::vector<std::string> breaches;
  std::map<std::string, int> happened;  // faults and ends, by name
};

// With `tell` the run is printed as it happens.
outcome simulate(std::uint64_t seed, bool tell = false);

}  // namespace dlls::tests
