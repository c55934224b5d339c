// The node side of a process, wired: spool, model store, engine, node actor, link. Dials out,
// listens nowhere.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/error.hpp"

namespace dlls::actors {

struct home_options {
  std::filesystem::path state;   // folder: spool/, artifacts/, credentials/
  std::filesystem::path models;  // GGUF files; new ones are written here
  std::string coordinator_host;
  std::uint16_t coordinator_port = 7443;
  std::string name = "node";          // as in the certificate
  unsigned threads = 0;               // of the engine; 0: one a core
  std::uint64_t model_bytes_max = 0;  // what loaded models may take together; 0: three quarters
                                      // of base::memory_bytes()
  std::uint64_t cache_bytes = 1ull << 30;  // what a model's running answers may take together
  std::string cache_type = "f16";          // of its numbers; or q8_0, in half the memory
  std::string draft;                       // as inference_options::draft
  std::uint64_t seed = 0;                  // of the reconnect jitter; 0 draws one
};

// True when this folder holds a certificate: the node has joined.
bool has_joined(const home_options& options);
// Spends a token (dlls enroll) and stores the certificate. Blocks; errors as runtime::link::join.
base::result<> join(const home_options& options, const std::string& token_text);

// Everything in it ends with it; what was acknowledged is on the disk and goes on at the next
// start.
class home {
 public:
  // failed_precondition, with a hint, when the node has not joined yet.
  static base::result<std::unique_ptr<home>> start(home_options options);
  ~home();
  home(const home&) = delete;
  home& operator=(const home&) = delete;

 private:
  struct parts;
  explicit home(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

}  // namespace dlls::actors
