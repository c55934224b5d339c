#include "model/config_reader.hpp"

#include <fmt/format.h>

#include <utility>

#include "model/gguf.hpp"

namespace dlls::model {

std::string config_reader::full(std::string_view key) const {
  return fmt::format("{}.{}", architecture_, key);
}
bool config_reader::has(std::string_view key) const { return file_.has(full(key)); }
bool config_reader::has_tensor(std::string_view name) const { return file_.find(name) != nullptr; }

void config_reader::fail(base::error e) {
  if (ok()) error_ = std::move(e);
}
void config_reader::demand(bool condition, base::errc code, std::string message) {
  if (!condition) fail({code, std::move(message)});
}

template <class T>
T config_reader::checked(std::string_view key, const base::result<T>& value, T least, T most) {
  if (!value) {
    fail(
        value.error().code == base::errc::not_found
            ? base::error{base::errc::corrupt, "the model file lacks " + full(key)}
            : value.error());
    return least;
  }
  if (!(*value >= least && *value <= most))  // NaN fails too
    fail(
        {base::errc::corrupt,
         fmt::format("{} is {}, expected {} to {}", full(key), *value, least, most)});
  return *value;
}

std::uint32_t config_reader::count(std::string_view key, std::uint32_t least, std::uint32_t most) {
  return checked(key, file_.get_u32(full(key)), least, most);
}
std::uint32_t config_reader::count_or(
    std::string_view key, std::uint32_t absent, std::uint32_t least, std::uint32_t most) {
  return checked(key, file_.get_u32(full(key), absent), least, most);
}
float config_reader::real(std::string_view key, float least, float most) {
  return checked(key, file_.get_f32(full(key)), least, most);
}
float config_reader::real_or(std::string_view key, float absent, float least, float most) {
  return checked(key, file_.get_f32(full(key), absent), least, most);
}
std::string_view config_reader::text_or(std::string_view key, std::string_view absent) {
  const auto text = file_.get_string(full(key), absent);
  if (!text) return fail(text.error()), absent;
  return *text;
}

}  // namespace dlls::model
