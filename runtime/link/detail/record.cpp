#include "runtime/link/detail/record.hpp"

#include "base/check.hpp"

namespace dlls::runtime::link::detail {

using base::errc;

namespace {

void put(std::string& out, std::size_t value, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
    out += static_cast<char>(value >> shift & 0xFF);
}

std::size_t get(std::string_view from) {
  std::size_t value = 0;
  for (char c : from) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::string printable(std::string text) {
  for (auto& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  return text;
}

}  // namespace

std::string write_record(const fields& all) {
  std::string body;
  for (const auto& field : all) {
    base::check(field.size() <= 0xFFFF, "a record's field is short");
    put(body, field.size(), 2);
    body += field;
  }
  std::string record;
  put(record, body.size(), record_head_bytes);
  return record + body;
}

std::size_t record_size(std::string_view head) noexcept { return get(head); }

base::result<fields> read_fields(std::string_view body) {
  fields all;
  while (!body.empty()) {
    if (body.size() < 2) return base::error{errc::corrupt, "a record that ends too early"};
    const auto size = get(body.substr(0, 2));
    body.remove_prefix(2);
    if (size > body.size()) return base::error{errc::corrupt, "a record that ends too early"};
    all.emplace_back(body.substr(0, size));
    body.remove_prefix(size);
  }
  return all;
}

fields refusal(const base::error& why) {
  return {std::string(1, static_cast<char>(why.code)), why.message, why.hint};
}

base::error read_refusal(const fields& all) {
  if (all.size() != 3 || all[0].size() != 1)
    return {errc::corrupt, "the peer refuses in words that make no sense"};
  auto code = static_cast<errc>(all[0][0]);
  if (code == errc::ok || name(code) == "unknown") code = errc::unavailable;
  return {code, printable(all[1]), printable(all[2])};
}

}  // namespace dlls::runtime::link::detail
