// /v1/files: an upload passes through in pieces; the rest is metadata.
#include <boost/json/object.hpp>

#include "base/limits.hpp"
#include "gateway/detail/errors.hpp"
#include "gateway/detail/json_output.hpp"
#include "gateway/detail/multipart.hpp"
#include "gateway/detail/page_input.hpp"
#include "gateway/detail/replies.hpp"
#include "gateway/detail/routes.hpp"

namespace dlls::gateway::detail::files {
namespace json = boost::json;
namespace {

constexpr std::size_t field_bytes_max = 1024;
constexpr std::size_t filename_bytes_max = 255;
constexpr std::int64_t expires_s_min = 3'600;
constexpr std::int64_t expires_s_max = 2'592'000;
constexpr std::uint32_t list_limit_default = 1'000;
constexpr std::uint32_t list_limit_max = 10'000;

bool is_purpose(std::string_view text) {
  for (const auto known : {"fine-tune", "batch", "assistants", "vision", "user_data", "evals"})
    if (text == known) return true;
  return false;
}

// The last component, whatever separators the client's system has; a label, never a path of ours.
std::string file_label(std::string_view name) {
  const auto slash = name.find_last_of("/\\");
  if (slash != std::string_view::npos) name.remove_prefix(slash + 1);
  std::string label;
  for (const char c : name)
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) label += c;
  return label;
}

base::error bad_field(std::string why) { return {base::errc::invalid_argument, std::move(why)}; }

// The form of POST /v1/files: the parts "file" and "purpose", perhaps "expires_after[anchor]" and
// "expires_after[seconds]", in any order.
class upload_form final : public body_sink {
 public:
  upload_form(caller who, backend& to, std::string_view boundary, std::uint64_t bytes_max)
      : who_(std::move(who)),
        to_(to),
        bytes_max_(bytes_max),
        parser_(
            boundary,
            {[this](const form_part& p) { return begin(p); },
             [this](std::string_view bytes) { return data(bytes); }, [this] { return end(); }}) {}

  base::result<> write(std::string_view bytes) override { return parser_.write(bytes); }
  void finish(exchange_ptr out) override;

 private:
  base::result<> begin(const form_part& part);
  base::result<> data(std::string_view bytes);
  base::result<> end();
  base::result<> check() const;

  caller who_;
  backend& to_;
  std::uint64_t bytes_max_;
  std::shared_ptr<upload> upload_;
  std::uint64_t bytes_ = 0;
  bool in_file_ = false;
  std::string field_, value_;  // of the part under way
  std::string purpose_, anchor_;
  std::optional<std::int64_t> expires_s_;
  multipart_parser parser_;
};

base::result<> upload_form::begin(const form_part& part) {
  field_ = part.name;
  value_.clear();
  in_file_ = field_ == "file";
  if (!in_file_) return {};
  if (upload_) return bad_field("the form has two files; send one");
  const auto label = file_label(part.filename.value_or(""));
  if (label.empty() || label.size() > filename_bytes_max)
    return bad_field("'file' needs a file name of at most 255 bytes");
  auto opened = to_.begin_upload(who_, label, std::min(bytes_max_, base::limits::file_bytes_max));
  if (!opened) return opened.error();
  upload_ = *std::move(opened);
  return {};
}

base::result<> upload_form::data(std::string_view bytes) {
  if (in_file_) {
    bytes_ += bytes.size();
    if (bytes_ > base::limits::file_bytes_max) return bad_field("the file is larger than 512 MB");
    return upload_->write(std::as_bytes(std::span{bytes}));
  }
  value_ += bytes;
  if (value_.size() > field_bytes_max) return bad_field("the field '" + field_ + "' is too long");
  return {};
}

base::result<> upload_form::end() {
  if (field_ == "purpose") {
    if (!purpose_.empty()) return bad_field("the form has two purposes");
    purpose_ = value_;
  } else if (field_ == "expires_after[anchor]") {
    anchor_ = value_;
  } else if (field_ == "expires_after[seconds]") {
    const auto seconds = parse_unsigned(value_);
    expires_s_ = seconds && *seconds <= expires_s_max ? static_cast<std::int64_t>(*seconds) : 0;
  }
  return {};
}

base::result<> upload_form::check() const {
  if (!parser_.complete()) return bad_field("the multipart body ends before its last boundary");
  if (!upload_) return bad_field("the form has no 'file'");
  if (purpose_.empty()) return bad_field("the form has no 'purpose'");
  if (!is_purpose(purpose_))
    return bad_field("'purpose' must be fine-tune, batch, assistants, vision, user_data or evals");
  if (!anchor_.empty() && anchor_ != "created_at")
    return bad_field("'expires_after[anchor]' must be created_at");
  if (expires_s_ && *expires_s_ < expires_s_min)
    return bad_field("'expires_after[seconds]' must be between 3600 and 2592000");
  return {};
}

void upload_form::finish(exchange_ptr out) {
  if (const auto ok = check(); !ok) return out->send(to_response(ok.error()));
  // The reply keeps the upload alive: the form may be gone before.
  auto done = on_home<file_info>(out, [out, kept = upload_](base::result<file_info> got) {
    out->send(got ? json_response(file_object(*got)) : to_response(got.error()));
  });
  upload_->finish(purpose_, expires_s_, std::move(done));
}

}  // namespace

base::result<std::unique_ptr<body_sink>> open_upload(
    const request& in, backend& to, std::uint64_t bytes_max) {
  const auto boundary = multipart_boundary(in.content_type);
  if (!boundary)
    return bad_field(
        "send the file as multipart/form-data with a boundary, as the OpenAI SDK does");
  return std::unique_ptr<body_sink>(new upload_form(in.who, to, *boundary, bytes_max));
}

void list(request in, backend& to, exchange_ptr out) {
  problem wrong;
  auto which = read_page(in, list_limit_default, list_limit_max, wrong);
  if (wrong) return out->send(to_response(*wrong));
  auto purpose = query_value(in, "purpose");
  to.list_files(
      std::move(in.who), std::move(purpose), std::move(which),
      page_reply<file_info>(out, file_object));
}

void find(request in, backend& to, exchange_ptr out) {
  to.find_file(std::move(in.who), in.parameters[0], object_reply<file_info>(out, file_object));
}

void read(request in, backend& to, exchange_ptr out) {
  using body = std::shared_ptr<content>;
  auto done = on_home<body>(out, [out](base::result<body> got) {
    if (!got) return out->send(to_response(got.error()));
    response head;
    head.content_type = "application/octet-stream";
    out->send_content(std::move(head), *std::move(got));
  });
  to.open_file(std::move(in.who), in.parameters[0], std::move(done));
}

void remove(request in, backend& to, exchange_ptr out) {
  auto done = on_home<file_info>(out, [out](base::result<file_info> got) {
    if (!got) return out->send(to_response(got.error()));
    json::object body;
    body["id"] = text_value(got->id);
    body["object"] = "file";
    body["deleted"] = true;
    out->send(json_response(body));
  });
  to.delete_file(std::move(in.who), in.parameters[0], std::move(done));
}

}  // namespace dlls::gateway::detail::files
