#include "model/python_json.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cmath>

namespace dlls::model {
namespace {
namespace json = boost::json;

class printer {
 public:
  explicit printer(std::size_t indent) : indent_(indent) {}

  void print(const json::value& value, std::size_t depth) {
    if (const auto* text = value.if_string()) return print(*text);
    if (const auto* number = value.if_double()) return print(*number);
    if (const auto* list = value.if_array())
      return print_all(
          '[', *list, ']', depth, [&](const json::value& item) { print(item, depth + 1); });
    if (const auto* members = value.if_object())
      return print_all('{', *members, '}', depth, [&](const json::key_value_pair& member) {
        print(member.key());
        out_ += ": ";
        print(member.value(), depth + 1);
      });
    out_ += json::serialize(value);  // whole numbers, true, false, null
  }
  void print(std::string_view text) {
    out_ += '"';
    for (const char c : text) print(c);
    out_ += '"';
  }
  std::string take() { return std::move(out_); }

 private:
  void print(char c) {
    static constexpr std::string_view short_codes = "\b\f\n\r\t\"\\", letters = "bfnrt\"\\";
    if (const auto at = short_codes.find(c); at != short_codes.npos)
      (out_ += '\\') += letters[at];
    else if (static_cast<unsigned char>(c) < 0x20)
      out_ += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    else
      out_ += c;
  }
  void print(double number) {
    auto text = fmt::format("{}", number);
    if (text.find_first_of(".en") == text.npos) text += ".0";
    out_ += text;
  }
  template <class Parts, class Fn>
  void print_all(char open, const Parts& parts, char close, std::size_t depth, Fn print_part) {
    out_ += open;
    bool first = true;
    for (const auto& part : parts) {
      if (!first) out_ += indent_ == 0 ? ", " : ",";
      first = false;
      new_line(depth + 1);
      print_part(part);
    }
    if (!first) new_line(depth);
    out_ += close;
  }
  void new_line(std::size_t depth) {
    if (indent_ > 0) (out_ += '\n').append(depth * indent_, ' ');
  }

  std::size_t indent_;
  std::string out_;
};

}  // namespace

std::string python_json(const json::value& value, std::size_t indent) {
  printer p(indent);
  p.print(value, 0);
  return p.take();
}

std::string python_json(std::string_view text) {
  printer p(0);
  p.print(text);
  return p.take();
}

}  // namespace dlls::model
