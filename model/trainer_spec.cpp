#include "model/trainer_spec.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cmath>
#include <limits>

namespace dlls::model {
namespace {

namespace json = boost::json;

base::error bad(std::string_view field, std::string_view why) {
  return {base::errc::invalid_argument, fmt::format("training spec: '{}' {}", field, why)};
}

// Calls visit(name, reference) for every field: one list for reading and writing. Enumerations go
// as strings and are handled apart.
template <class Spec, class Visit>
void each_field(Spec& s, Visit visit) {
  visit("kind", s.kind);
  visit("epochs", s.epochs);
  visit("batch_rows", s.batch_rows);
  visit("micro_batch_tokens", s.micro_batch_tokens);
  visit("learning_rate", s.learning_rate);
  visit("beta1", s.beta1);
  visit("beta2", s.beta2);
  visit("eps", s.eps);
  visit("weight_decay", s.weight_decay);
  visit("decay_vectors", s.decay_vectors);
  visit("clip", s.clip);
  visit("warmup_ratio", s.warmup_ratio);
  visit("schedule", s.schedule);
  visit("min_rate_ratio", s.min_rate_ratio);
  visit("shuffle", s.shuffle);
  visit("seed", s.seed);
  visit("context", s.context);
  visit("target_loss", s.target_loss);
}

template <class Shape, class Visit>
void each_shape_field(Shape& s, Visit visit) {
  visit("dim", s.dim);
  visit("layers", s.layers);
  visit("heads", s.heads);
  visit("kv_heads", s.kv_heads);
  visit("ff", s.ff);
  visit("rope_base", s.rope_base);
  visit("rms_eps", s.rms_eps);
  visit("tied", s.tied);
}

// Writes one field after another; doubles as the shortest text that reads back the same.
struct writer {
  std::string text;
  void begin(std::string_view name) {
    text += fmt::format("{}\"{}\":", text.empty() || text.back() == '{' ? "" : ",", name);
  }
  void operator()(std::string_view name, const std::string& v) {
    begin(name), text += json::serialize(json::string(v));
  }
  void operator()(std::string_view name, rate_schedule v) {
    begin(name), text += v == rate_schedule::cosine ? "\"cosine\"" : "\"constant\"";
  }
  void operator()(std::string_view name, bool v) { begin(name), text += v ? "true" : "false"; }
  template <class Number>
  void operator()(std::string_view name, const Number& v) {
    begin(name), text += fmt::format("{}", v);
  }
};

// Takes the fields it is asked for out of an object; what is left over is unknown.
struct reader {
  json::object from;
  base::error failure{base::errc::ok, {}};

  void fail(std::string_view name, std::string_view why) {
    if (failure.code == base::errc::ok) failure = bad(name, why);
  }
  template <class Take>
  void with(std::string_view name, Take take) {
    if (const auto* v = from.if_contains(name)) {
      take(*v);
      from.erase(name);
    }
  }
  void operator()(std::string_view name, std::string& to) {
    with(name, [&](const json::value& v) {
      v.is_string() ? void(to = v.as_string()) : fail(name, "must be a string");
    });
  }
  void operator()(std::string_view name, bool& to) {
    with(name, [&](const json::value& v) {
      v.is_bool() ? void(to = v.as_bool()) : fail(name, "must be true or false");
    });
  }
  void operator()(std::string_view name, double& to) {
    with(name, [&](const json::value& v) {
      v.is_number() ? void(to = v.to_number<double>()) : fail(name, "must be a number");
    });
  }
  void operator()(std::string_view name, rate_schedule& to) {
    with(name, [&](const json::value& v) {
      const bool cosine = v.is_string() && v.as_string() == "cosine";
      if (!cosine && !(v.is_string() && v.as_string() == "constant"))
        return fail(name, "must be \"constant\" or \"cosine\"");
      to = cosine ? rate_schedule::cosine : rate_schedule::constant;
    });
  }
  template <class Count>
  void operator()(std::string_view name, Count& to) {
    with(name, [&](const json::value& v) {
      std::uint64_t n = std::numeric_limits<std::uint64_t>::max();
      if (v.is_uint64()) n = v.as_uint64();
      if (v.is_int64() && v.as_int64() >= 0) n = std::uint64_t(v.as_int64());
      const bool whole = v.is_uint64() || (v.is_int64() && v.as_int64() >= 0);
      if (!whole || n > std::numeric_limits<Count>::max())
        return fail(name, "must be a whole number in range");
      to = Count(n);
    });
  }
};

base::result<> validate(const pretrain_shape& s) {
  constexpr std::uint32_t most = 1u << 16;
  for (const auto& [name, value] :
       {std::pair{"shape.dim", s.dim},
        {"shape.layers", s.layers},
        {"shape.heads", s.heads},
        {"shape.kv_heads", s.kv_heads},
        {"shape.ff", s.ff}})
    if (value == 0 || value > most) return bad(name, fmt::format("must be 1 to {}", most));
  if (s.dim % s.heads || s.dim / s.heads % 2)
    return bad("shape.heads", "must divide dim into an even size");
  if (s.dim / s.heads > 256) return bad("shape.heads", "must give heads of at most 256");
  if (s.heads % s.kv_heads) return bad("shape.kv_heads", "must divide heads");
  if (!(s.rope_base > 1 && s.rope_base < 1e9)) return bad("shape.rope_base", "must be 1 to 1e9");
  if (!(s.rms_eps > 0 && s.rms_eps < 1)) return bad("shape.rms_eps", "must be above 0, below 1");
  return {};
}

}  // namespace

std::string to_json(const training_spec& spec) {
  writer out;
  out.text = "{";
  each_field(spec, [&](std::string_view name, const auto& v) { out(name, v); });
  out.text += ",\"shape\":{";
  each_shape_field(spec.shape, [&](std::string_view name, const auto& v) { out(name, v); });
  return out.text + "}}";
}

base::result<training_spec> parse_training_spec(std::string_view text) {
  json::error_code ec;
  auto parsed = json::parse(text, ec);
  if (ec || !parsed.is_object())
    return base::error{base::errc::invalid_argument, "training spec: no JSON object"};
  training_spec spec;
  reader in{std::move(parsed.as_object())};
  each_field(spec, [&](std::string_view name, auto& v) { in(name, v); });
  if (auto* shape = in.from.if_contains("shape")) {
    if (!shape->is_object()) return bad("shape", "must be an object");
    reader inner{shape->as_object()};
    each_shape_field(spec.shape, [&](std::string_view name, auto& v) { inner(name, v); });
    if (inner.failure.code != base::errc::ok) return inner.failure;
    if (!inner.from.empty()) return bad(inner.from.begin()->key(), "is no field of shape");
    in.from.erase("shape");
  }
  if (in.failure.code != base::errc::ok) return in.failure;
  if (!in.from.empty()) return bad(in.from.begin()->key(), "is no field");
  if (auto ok = validate(spec); !ok) return ok.error();
  return spec;
}

base::result<> validate(const training_spec& s) {
  if (s.kind != "fine_tune" && s.kind != "pretrain")
    return bad("kind", "must be \"fine_tune\" or \"pretrain\"");
  if (s.epochs == 0) return bad("epochs", "must be at least 1");
  if (s.micro_batch_tokens == 0) return bad("micro_batch_tokens", "must be at least 1");
  const auto within = [](double v, double low, double high) { return v >= low && v <= high; };
  if (!(s.learning_rate > 0 && s.learning_rate <= 10))
    return bad("learning_rate", "must be above 0, at most 10");
  if (!within(s.beta1, 0, 0.99999)) return bad("beta1", "must be 0 to 0.99999");
  if (!within(s.beta2, 0, 0.99999)) return bad("beta2", "must be 0 to 0.99999");
  if (!(s.eps > 0 && s.eps < 1)) return bad("eps", "must be above 0, below 1");
  if (!within(s.weight_decay, 0, 10)) return bad("weight_decay", "must be 0 to 10");
  if (!within(s.clip, 0, 1e9)) return bad("clip", "must be 0 or more");
  if (!within(s.warmup_ratio, 0, 1)) return bad("warmup_ratio", "must be 0 to 1");
  if (!within(s.min_rate_ratio, 0, 1)) return bad("min_rate_ratio", "must be 0 to 1");
  if (!within(s.target_loss, 0, 1e9)) return bad("target_loss", "must be 0 or more");
  return validate(s.shape);
}

}  // namespace dlls::model
