// The cloud side of a process, wired: ledger, artifact store, authority, link, coordinator, outbox.
// The HTTP server stands on top of backend(); cli/ puts the two together.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "actors/coordinator_timing.hpp"
#include "base/error.hpp"
#include "gateway/backend.hpp"

namespace dlls::actors {

struct cloud_options {
  std::filesystem::path state;             // folder: ledger.db, artifacts/, authority/
  std::string name = "main";               // in the coordinator's certificate
  std::string link_address = "127.0.0.1";  // where nodes dial in
  std::uint16_t link_port = 7443;          // 0: the system picks one
  std::size_t workers = 2;                 // actor threads
  bool make_key = false;                   // a further API key, for an owner who lost his
  // Shows or keeps a key just made: the first of this folder, or because of make_key. It opens once
  // this has succeeded; only its hash is stored. Required.
  std::function<base::result<>(const std::string& key)> show_key;
  coordinator_timing timing;
};

// Everything in it ends with it, in order; acknowledged work is on the disk.
class cloud {
 public:
  // Errors of the parts, with a hint: a port in use (already_exists), another coordinator on this
  // folder (failed_precondition), a newer ledger (version_mismatch), no space, no permission.
  static base::result<std::unique_ptr<cloud>> start(cloud_options options);
  ~cloud();
  cloud(const cloud&) = delete;
  cloud& operator=(const cloud&) = delete;

  std::shared_ptr<gateway::backend> backend();
  std::uint16_t link_port() const noexcept;

  // A join token for a node of that name. Blocks for one commit.
  base::result<std::string> make_join_token(const std::string& node, std::int64_t ttl_s);

 private:
  struct parts;
  explicit cloud(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

}  // namespace dlls::actors
