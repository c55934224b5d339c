// The smallest job: SHA-256 of every input, and of all of them together, `rounds` times over. It
// exercises the whole protocol without a model.
#include <fmt/core.h>

#include <boost/json.hpp>

#include "actors/job_run.hpp"
#include "actors/wire_json.hpp"
#include "base/encoding.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"

#include <fcntl.h>

namespace dlls::actors {
namespace json = boost::json;
using base::errc;
using base::error;
using base::result;

namespace {

constexpr std::size_t piece_bytes = 1u << 20;

class checksum_run final : public job_run {
 public:
  checksum_run(work_order order, std::uint64_t rounds)
      : order_(std::move(order)), rounds_(rounds) {}

  bool done() const override { return round_ == rounds_; }

  // One piece of one input; after the last input, one round less.
  result<> step() override {
    if (input_ == order_.inputs.size()) return end_round();
    const auto& path = order_.inputs[input_].path;
    if (!file_) {
      file_ = base::unique_fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
      if (!file_) return base::errno_error("open " + path.string());
      offset_ = 0;
      one_ = base::sha256{};
    }
    buffer_.resize(piece_bytes);
    auto got = base::read_at(file_.get(), offset_, buffer_);
    if (!got) return got.error();
    const std::span<const std::byte> piece{buffer_.data(), *got};
    one_.update(piece);
    all_.update(piece);
    offset_ += *got;
    if (*got < piece_bytes) {
      sums_.push_back(base::to_hex(one_.finish()));
      file_ = {};
      ++input_;
    }
    return {};
  }

  run_progress progress() const override { return {round_, rounds_, 0, -1}; }

  result<run_result> finish() override {
    json::array inputs;
    for (std::size_t i = 0; i < sums_.size(); ++i)
      inputs.push_back(json::object{{"name", order_.inputs[i].name}, {"sha256", sums_[i]}});
    run_result made;
    made.files.push_back(
        {"checksum.json", json::serialize(json::object{
                              {"inputs", inputs}, {"sha256", total_}, {"rounds", rounds_}})});
    made.metrics_json = json::serialize(json::object{{"sha256", total_}});
    return made;
  }

 private:
  result<> end_round() {
    total_ = base::to_hex(all_.finish());
    ++round_;
    all_ = base::sha256{};
    if (!done()) {
      sums_.clear();
      input_ = 0;
    }
    return {};
  }

  work_order order_;
  std::uint64_t rounds_, round_ = 0;
  std::size_t input_ = 0;
  std::uint64_t offset_ = 0;
  base::unique_fd file_;
  base::sha256 one_, all_;
  std::vector<std::byte> buffer_;
  std::vector<std::string> sums_;  // of each input, this round
  std::string total_;
};

}  // namespace

result<std::unique_ptr<job_run>> start_checksum(work_order order) {
  auto spec = parse_json(order.spec_json);
  if (!spec) return spec.error();
  const auto* members = spec->if_object();
  if (!members) return error{errc::invalid_argument, "the specification is no JSON object"};
  const auto* extra = members->if_contains("extra");
  auto rounds = extra ? whole_member(*extra, "rounds", 1, 1, 1'000'000) : result<std::uint64_t>{1};
  if (!rounds) return rounds.error();
  return std::make_unique<checksum_run>(std::move(order), *rounds);
}

}  // namespace dlls::actors
