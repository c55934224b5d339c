// /v1/embeddings.
#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <iterator>

#include "base/encoding.hpp"
#include "base/limits.hpp"
#include "gateway/detail/errors.hpp"
#include "gateway/detail/json_input.hpp"
#include "gateway/detail/json_output.hpp"
#include "gateway/detail/routes.hpp"

namespace dlls::gateway::detail::embeddings {
namespace json = boost::json;
namespace {

constexpr std::size_t texts_max = 1024;
constexpr std::size_t model_bytes_max = 256;
constexpr std::int64_t dimensions_max = 1 << 16;

struct embedding_input {
  embed_request request;
  bool base64 = false;
};

std::vector<std::string> read_texts(const object_reader& in) {
  const auto* input = in.find("input");
  if (!input) {
    in.fail("input", "'input' is required", "missing_required_parameter");
    return {};
  }
  std::vector<std::string> texts;
  const auto add = [&](const json::value& one, const std::string& place) {
    const auto* text = one.if_string();
    if (!text)
      in.fail(
          place, "'" + place + "' must be text: each model has token ids of its own",
          "unsupported_parameter");
    else if (text->empty())
      in.fail(place, "'" + place + "' is empty");
    else
      texts.emplace_back(text->data(), text->size());
    return text && !text->empty();
  };
  if (!input->is_array()) {
    add(*input, "input");
  } else if (const auto* list = in.array("input", texts_max)) {
    if (list->empty()) in.fail("input", "'input' is empty");
    for (std::size_t i = 0; i < list->size(); ++i)
      if (!add((*list)[i], "input[" + std::to_string(i) + "]")) break;
  }
  return texts;
}

embedding_input read(const request& in, problem& first) {
  json_body body{in.body};
  embedding_input out;
  if (!body.first) {
    const auto reader = body.reader();
    out.request.who = in.who;
    out.request.model = reader.required_text("model", model_bytes_max);
    out.request.texts = read_texts(reader);
    out.request.dimensions =
        static_cast<std::uint32_t>(reader.integer("dimensions", 1, dimensions_max).value_or(0));
    const auto format = reader.text("encoding_format", 64).value_or("float");
    out.base64 = format == "base64";
    if (!out.base64 && format != "float")
      reader.fail("encoding_format", "'encoding_format' must be float or base64");
  }
  first = std::move(body.first);
  return out;
}

// As text at once: a tree of a long list's numbers would take several times the memory.
void write_vector(std::string& to, const std::vector<float>& v, bool base64) {
  if (base64) {
    to += '"' + base::to_base64(std::as_bytes(std::span{v})) + '"';
    return;
  }
  char before = '[';
  for (const float x : v) {
    to += std::exchange(before, ',');
    fmt::format_to(std::back_inserter(to), "{}", x);
  }
  to += ']';
}

response list_of(const embedding_list& all, const std::string& model, bool base64) {
  json::object usage;
  usage["prompt_tokens"] = all.tokens;
  usage["total_tokens"] = all.tokens;
  response out;
  out.body = R"({"object":"list","data":[)";
  for (std::size_t i = 0; i < all.vectors.size(); ++i) {
    if (i > 0) out.body += ',';
    out.body += fmt::format(R"({{"object":"embedding","index":{},"embedding":)", i);
    write_vector(out.body, all.vectors[i], base64);
    out.body += '}';
  }
  out.body += R"(],"model":)" + json::serialize(text_value(model)) + R"(,"usage":)" +
              json::serialize(usage) + "}";
  return out;
}

}  // namespace

void create(request in, backend& to, exchange_ptr out) {
  problem wrong;
  auto input = read(in, wrong);
  if (wrong) return out->send(to_response(*wrong));
  const auto model = input.request.model;
  const auto handle = to.embed(
      std::move(input.request),
      on_home<embedding_list>(
          out, [out, model, base64 = input.base64](base::result<embedding_list> got) {
            out->send(
                got ? list_of(*got, model, base64) : to_response(api_error_of(got.error(), model)));
          }));
  out->when_gone([handle] { handle->cancel(); });
}

}  // namespace dlls::gateway::detail::embeddings
