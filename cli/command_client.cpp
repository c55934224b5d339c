// What a client does: chat, submit a job, list models.
#include <fmt/core.h>
#include <unistd.h>

#include <fstream>
#include <iostream>

#include "base/sha256.hpp"
#include "cli/command.hpp"
#include "cli/json.hpp"
#include "cli/progress_bar.hpp"

namespace dlls::cli {
using base::errc;
using base::error;
using base::result;

namespace {

// --- models

void add_models(program& to) {
  add_command(
      to, "models", "list the models that can be asked and trained", [](const settings& all) {
        return print_list(
            all, "/v1/models",
            "no models: is a node linked (`dlls nodes`), and a GGUF file in its models folder?",
            [](const auto& m) {
              const auto node = text_of(m, "node");
              fmt::print(
                  "{:<48} {:>6} tokens  {}\n", text_of(m, "id"), number_of(m, "context_length"),
                  node.empty() ? "(node away)" : "on " + node);
            });
      });
}

// --- chat

struct chat_flags {
  std::string model, system, question;
  double temperature = 0.7;
  int tokens_max = 512;
  bool greedy = false;
};

// One answer, printed as it comes; the whole of it is returned.
result<std::string> ask(
    const gateway::client& client, const chat_flags& how, const json::array& turns) {
  json::object body{
      {"model", how.model},
      {"messages", turns},
      {"stream", true},
      {"max_completion_tokens", how.tokens_max},
      {"temperature", how.greedy ? 0.0 : how.temperature}};
  std::string answer;
  auto done =
      client.events("/v1/chat/completions", json::serialize(body), [&](std::string_view data) {
        if (data == "[DONE]") return true;
        boost::system::error_code failed;
        const auto event = json::parse({data.data(), data.size()}, failed);
        for (const auto& choice : failed ? json::array{} : list_of(event, "choices")) {
          const auto* delta = choice.as_object().if_contains("delta");
          const auto piece = delta ? text_of(*delta, "content") : "";
          answer += piece;
          fmt::print("{}", piece);
          std::fflush(stdout);
        }
        return true;
      });
  fmt::print("\n");
  if (!done) return done.error();
  return answer;
}

// The model named, else the first that a linked node has.
result<std::string> pick_model(const gateway::client& client, const std::string& named) {
  if (!named.empty()) return named;
  auto found = parsed(client.get("/v1/models"));
  if (!found) return found.error();
  for (const auto& one : list_of(*found, "data"))
    if (!text_of(one, "node").empty()) return text_of(one, "id");
  return error{
      errc::unavailable, "no linked node has a model",
      "see `dlls nodes`; put a GGUF file into the node's models folder and start the node again"};
}

result<int> chat(const settings& all, chat_flags how) {
  auto client = connect(all);
  if (!client) return client.error();
  auto model = pick_model(*client, how.model);
  if (!model) return model.error();
  how.model = *model;
  json::array turns;
  if (!how.system.empty())
    turns.push_back(json::object{{"role", "system"}, {"content", how.system}});
  const bool once = !how.question.empty();
  if (!once) fmt::print(stderr, "talking to {} (an empty line or Ctrl-D ends)\n", how.model);
  for (std::string line = how.question;;) {
    if (!once) {
      if (isatty(STDIN_FILENO)) fmt::print(stderr, "> ");
      if (!std::getline(std::cin, line) || line.empty()) return 0;
    }
    turns.push_back(json::object{{"role", "user"}, {"content", line}});
    auto answer = ask(*client, how, turns);
    if (!answer) return answer.error();
    if (once) return 0;
    turns.push_back(json::object{{"role", "assistant"}, {"content", *answer}});
  }
}

void add_chat(program& to) {
  auto how = std::make_shared<chat_flags>();
  auto* command = add_command(
      to, "chat", "talk to a model; with a question, answer it and end",
      [how](const settings& all) { return chat(all, *how); });
  command->add_option("question", how->question, "one question; without it, a conversation");
  command->add_option("-m,--model", how->model, "a name of `dlls models` (default: the first)");
  command->add_option("--system", how->system, "system message");
  command->add_option("--temperature", how->temperature, "0 to 2 (default 0.7)")
      ->check(CLI::Range(0.0, 2.0));
  command->add_option("--max-tokens", how->tokens_max, "of the answer (default 512)");
  command->add_flag("--greedy", how->greedy, "always the likeliest token");
}

// --- submit

struct submit_flags {
  std::string kind = "fine_tune", model, suffix, spec = "{}", key;
  std::vector<std::string> files;
  int epochs = 0, seed = -1;
};

// The id of these bytes at the coordinator. They are sent only when no file of that purpose holds
// them: a repeated command names the same file, so that an idempotency key finds its job.
result<std::string> file_id_of(
    const gateway::client& client, const std::string& path, const std::string& purpose) {
  auto sum = base::sha256_file(path);
  if (!sum) return sum.error();
  auto known = parsed(client.get("/v1/files?order=asc&limit=10000&purpose=" + purpose));
  if (!known) return known.error();
  for (const auto& one : list_of(*known, "data"))
    if (text_of(one, "sha256") == *sum) return text_of(one, "id");
  progress_bar bar("upload " + std::filesystem::path{path}.filename().string());
  auto sent = parsed(client.upload(path, purpose, [&](auto done, auto total) {
    bar.show(done, total, bytes_text(static_cast<double>(total)));
  }));
  if (!sent) return sent.error();
  return text_of(*sent, "id");
}

result<int> submit(const settings& all, const submit_flags& what) {
  boost::system::error_code failed;
  auto spec = json::parse(what.spec, failed);
  if (failed || !spec.is_object()) return error{errc::invalid_argument, "--spec is no JSON object"};
  auto client = connect(all);
  if (!client) return client.error();
  json::array files;
  for (const auto& path : what.files) {
    auto id = file_id_of(*client, path, what.kind == "fine_tune" ? "fine-tune" : "user_data");
    if (!id) return id.error();
    files.push_back(json::string{*id});
  }
  json::object body{{"kind", what.kind}, {"files", files}, {"spec", spec}};
  if (!what.model.empty()) body["model"] = what.model;
  if (!what.suffix.empty()) body["suffix"] = what.suffix;
  if (what.seed >= 0) body["seed"] = what.seed;
  if (what.epochs > 0) body["hyperparameters"] = json::object{{"n_epochs", what.epochs}};
  gateway::client::header_list headers;
  if (!what.key.empty()) headers.emplace_back("Idempotency-Key", what.key);
  auto made = parsed(client->post("/v1/jobs", json::serialize(body), headers));
  if (!made) return made.error();
  fmt::print("{}\n", text_of(*made, "id"));
  fmt::print(stderr, "submitted; follow it with `dlls jobs watch {}`\n", text_of(*made, "id"));
  return 0;
}

void add_submit(program& to) {
  auto what = std::make_shared<submit_flags>();
  auto* command = add_command(
      to, "submit", "hand in a job: fine_tune, pretrain, generate or checksum (prints its id)",
      [what](const settings& all) { return submit(all, *what); });
  command->add_option("kind", what->kind, "of the job")
      ->check(CLI::IsMember({"fine_tune", "pretrain", "generate", "checksum"}))
      ->required();
  command->add_option("files", what->files, "inputs, uploaded first")->check(CLI::ExistingFile);
  command->add_option("-m,--model", what->model, "to start from (pretrain: whose tokenizer)");
  command->add_option("--suffix", what->suffix, "part of the new model's name");
  command->add_option("--epochs", what->epochs, "passes over the data (default: as the data asks)")
      ->check(CLI::Range(1, 1000));
  command->add_option("--seed", what->seed, "of the order and the initial weights")
      ->check(CLI::NonNegativeNumber);
  command->add_option(
      "--spec", what->spec, "further settings as JSON, e.g. '{\"learning_rate\": 1e-4}'");
  command->add_option("--idempotency-key", what->key, "the same key makes the same job, once");
}

}  // namespace

void add_client(program& to) {
  add_chat(to);
  add_submit(to);
  add_models(to);
}

}  // namespace dlls::cli
