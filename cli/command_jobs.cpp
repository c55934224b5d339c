// What happens to jobs: list, show, watch, fetch, cancel, release.
#include <fmt/core.h>

#include <ctime>
#include <fstream>

#include "base/encoding.hpp"
#include "base/sha256.hpp"
#include "cli/command.hpp"
#include "cli/json.hpp"
#include "cli/progress_bar.hpp"

namespace dlls::cli {
using base::errc;
using base::error;
using base::result;

namespace {

constexpr int job_failed = 7;

std::string when(double unix_s) {
  if (unix_s <= 0) return "-";
  const auto at = static_cast<std::time_t>(unix_s);
  std::tm local{};
  localtime_r(&at, &local);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
  return text;
}

void print_line(const json::value& job) {
  fmt::print(
      "{:<34} {:<10} {:<13} {}\n", text_of(job, "id"), text_of(job, "kind"), text_of(job, "state"),
      when(number_of(job, "created_at")));
}

void print_error(const json::value& job) {
  const auto* why = job.as_object().if_contains("error");
  if (why && why->is_object())
    fmt::print("error      {}: {}\n", text_of(*why, "code"), text_of(*why, "message"));
}

result<int> show(const settings& all, const std::string& id, bool raw) {
  auto client = connect(all);
  if (!client) return client.error();
  auto job = parsed(client->get("/v1/jobs/" + id));
  if (!job) return job.error();
  if (raw) {
    fmt::print("{}\n", json::serialize(*job));
    return 0;
  }
  for (const auto* name : {"id", "kind", "state", "model", "node", "result_model"})
    if (const auto text = text_of(*job, name); !text.empty()) fmt::print("{:<10} {}\n", name, text);
  fmt::print("created    {}\n", when(number_of(*job, "created_at")));
  fmt::print("started    {}\n", when(number_of(*job, "started_at")));
  fmt::print("finished   {}\n", when(number_of(*job, "finished_at")));
  print_error(*job);
  if (auto events = parsed(client->get("/v1/jobs/" + id + "/events?limit=100"))) {
    auto list = list_of(*events, "data");
    for (auto it = list.rbegin(); it != list.rend(); ++it)
      fmt::print("{}  {}\n", when(number_of(*it, "created_at")), text_of(*it, "message"));
  }
  return 0;
}

// Progress bar, loss, remaining time; the exit code tells how the job ended.
result<int> watch(const settings& all, const std::string& id) {
  auto client = connect(all);
  if (!client) return client.error();
  json::value end;
  {
    progress_bar bar(id);
    auto done = client->events("/v1/jobs/" + id + "/watch", "", [&](std::string_view data) {
      if (data == "[DONE]") return true;
      boost::system::error_code failed;
      auto event = json::parse({data.data(), data.size()}, failed);
      if (failed) return true;
      if (text_of(event, "object") != "job.progress") {
        end = event;
        return true;
      }
      std::string note = text_of(event, "state");
      if (note == "queued") note += ", waiting for a node (see `dlls nodes`)";
      if (const auto loss = number_of(event, "loss"); loss > 0)
        note += fmt::format(", loss {:.4f}", loss);
      if (const auto left = number_of(event, "remaining_s"); left > 0)
        note += ", " + duration_text(left) + " left";
      bar.show(
          static_cast<std::uint64_t>(number_of(event, "step")),
          static_cast<std::uint64_t>(number_of(event, "steps")), note);
      return true;
    });
    if (!done) return done.error();
  }
  const auto state = text_of(end, "state");
  fmt::print("{} is {}\n", id, state);
  if (end.is_object()) print_error(end);
  const bool good = state == "ready" || state == "fetched" || state == "released";
  return good ? 0 : job_failed;
}

// One artifact into `folder`, checked against its name; an interrupted one is fetched anew.
result<> fetch_one(
    const gateway::client& client, const std::string& id, const json::value& artifact,
    const std::filesystem::path& folder) {
  const auto sha256 = text_of(artifact, "sha256");
  // The name is the node's word: only its last part, so that it cannot lead out of the folder.
  const auto name = std::filesystem::path{text_of(artifact, "name")}.filename();
  if (name.empty() || name == "." || name == "..")
    return error{errc::corrupt, "the result names a file that is none"};
  const auto target = folder / name;
  auto part = target;
  part += ".part";
  std::ofstream out(part, std::ios::binary | std::ios::trunc);
  if (!out) return base::errno_error("create " + part.string());
  base::sha256 hash;
  progress_bar bar("fetch " + name.string());
  auto done = client.download(
      "/v1/jobs/" + id + "/artifacts/" + sha256,
      [&](std::string_view bytes) {
        hash.update(bytes);
        out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        return static_cast<bool>(out);
      },
      [&](auto now, auto total) { bar.show(now, total, bytes_text(static_cast<double>(total))); });
  out.close();
  if (!out) return error{errc::storage_full, "cannot write " + part.string(), "free some space"};
  if (!done) return done.error();
  if (base::to_hex(hash.finish()) != sha256)
    return error{errc::corrupt, name.string() + " fails its checksum", "fetch it again"};
  std::error_code failed;
  std::filesystem::rename(part, target, failed);
  if (failed) return error{errc::io, "rename " + part.string() + ": " + failed.message()};
  bar.finish();
  fmt::print("{}\n", target.string());
  return {};
}

result<int> fetch(
    const settings& all, const std::string& id, const std::string& folder, bool with_model) {
  auto client = connect(all);
  if (!client) return client.error();
  auto found = parsed(client->get("/v1/jobs/" + id + "/result"));
  if (!found) return found.error();
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  bool left_out = false;
  for (const auto& artifact : list_of(*found, "artifacts")) {
    if (!with_model && text_of(artifact, "name") == "model.gguf") {
      left_out = true;
      continue;
    }
    if (auto done = fetch_one(*client, id, artifact, folder); !done) return done.error();
  }
  if (left_out)
    fmt::print(
        stderr, "the model '{}' stays with its node; --model fetches its file too\n",
        text_of(*found, "model"));
  return 0;
}

result<int> post(const settings& all, const std::string& path) {
  auto client = connect(all);
  if (!client) return client.error();
  auto done = parsed(client->post(path, "{}"));
  if (!done) return done.error();
  print_line(*done);
  return 0;
}

}  // namespace

void add_jobs(program& to) {
  auto id = std::make_shared<std::string>();
  auto raw = std::make_shared<bool>(false);
  auto* jobs = to.app.add_subcommand("jobs", "list, show and watch jobs");
  jobs->require_subcommand(1);
  add_subcommand(
      to, *jobs, "list", "the newest jobs, one a line", [](const settings& all) -> result<int> {
        auto client = connect(all);
        if (!client) return client.error();
        auto found = parsed(client->get("/v1/jobs?limit=50"));
        if (!found) return found.error();
        for (const auto& job : list_of(*found, "data")) print_line(job);
        return 0;
      });
  auto* one = add_subcommand(to, *jobs, "show", "one job and its events", [=](const settings& all) {
    return show(all, *id, *raw);
  });
  one->add_option("id", *id, "of the job")->required();
  one->add_flag("--json", *raw, "as the server sends it");
  add_subcommand(
      to, *jobs, "watch", "progress, loss and remaining time, until it ends",
      [=](const settings& all) { return watch(all, *id); })
      ->add_option("id", *id, "of the job")
      ->required();

  auto folder = std::make_shared<std::string>(".");
  auto with_model = std::make_shared<bool>(false);
  auto* fetching = add_command(to, "fetch", "bring a job's result here", [=](const settings& all) {
    return fetch(all, *id, *folder, *with_model);
  });
  fetching->add_option("id", *id, "of the job")->required();
  fetching->add_option("--to", *folder, "folder (default: here)");
  fetching->add_flag("--model", *with_model, "the weights too: they come from the node");
  add_command(
      to, "cancel", "end a job",
      [=](const settings& all) { return post(all, "/v1/jobs/" + *id + "/cancel"); })
      ->add_option("id", *id, "of the job")
      ->required();
  add_command(
      to, "release", "say that a result is no longer needed on the node",
      [=](const settings& all) { return post(all, "/v1/jobs/" + *id + "/release"); })
      ->add_option("id", *id, "of the job")
      ->required();
}

}  // namespace dlls::cli
