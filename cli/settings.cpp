#include "cli/settings.hpp"

#include <fmt/core.h>

#include <toml++/toml.h>
#include <charconv>
#include <cstdlib>
#include <map>

namespace dlls::cli {
namespace fs = std::filesystem;
using base::errc;
using base::error;
using base::result;

namespace {

std::string environment(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

fs::path default_home() {
  if (const auto named = environment("DLLS_HOME"); !named.empty()) return named;
  if (const auto data = environment("XDG_DATA_HOME"); !data.empty()) return fs::path{data} / "dlls";
  return fs::path{environment("HOME")} / ".local" / "share" / "dlls";
}

// One member of the file and where its value goes.
class member {
 public:
  member(std::string& target) : target_(&target) {}
  member(fs::path& target) : path_(&target) {}
  member(bool& target) : flag_(&target) {}
  member(std::uint16_t& target) : port_(&target) {}
  member(unsigned& target) : count_(&target) {}

  // What it should have been, or nothing.
  std::string take(const toml::node& value) const {
    if (target_ || path_) {
      auto text = value.value<std::string>();
      if (!text) return "a text";
      if (target_)
        *target_ = *text;
      else
        *path_ = *text;
      return "";
    }
    if (flag_) {
      auto flag = value.value<bool>();
      if (!flag || !value.is_boolean()) return "true or false";
      *flag_ = *flag;
      return "";
    }
    auto number = value.value<std::int64_t>();
    const std::int64_t most = port_ ? 65535 : 1024;
    if (!number || !value.is_integer() || *number < 0 || *number > most)
      return fmt::format("a whole number from 0 to {}", most);
    if (port_)
      *port_ = static_cast<std::uint16_t>(*number);
    else
      *count_ = static_cast<unsigned>(*number);
    return "";
  }

 private:
  std::string* target_ = nullptr;
  fs::path* path_ = nullptr;
  bool* flag_ = nullptr;
  std::uint16_t* port_ = nullptr;
  unsigned* count_ = nullptr;
};

std::map<std::string, std::map<std::string, member>> members_of(settings& all) {
  return {
      {"client", {{"url", all.url}, {"key_file", all.key_file}}},
      {"http",
       {{"address", all.http_address},
        {"port", all.http_port},
        {"behind_proxy", all.behind_proxy},
        {"certificate", all.http_certificate},
        {"key", all.http_key}}},
      {"coordinator",
       {{"name", all.coordinator_name},
        {"link_address", all.link_address},
        {"link_port", all.link_port},
        {"state", all.coordinator_state}}},
      {"node",
       {{"name", all.node_name},
        {"coordinator", all.coordinator},
        {"state", all.node_state},
        {"models", all.models},
        {"threads", all.threads},
        {"models_mib", all.models_mib},
        {"cache_mib", all.cache_mib},
        {"cache_type", all.cache_type},
        {"draft", all.draft}}},
  };
}

result<> read_table(const fs::path& file, const toml::table& root, settings& all) {
  const auto known = members_of(all);
  const auto wrong = [&](const toml::node& at, std::string_view what) {
    return error{
        errc::invalid_argument,
        fmt::format("{}, line {}: {}", file.string(), at.source().begin.line, what)};
  };
  for (const auto& [section, content] : root) {
    const auto table = known.find(std::string{section.str()});
    if (table == known.end() || !content.is_table())
      return wrong(content, fmt::format("unknown section '{}'", section.str()));
    for (const auto& [name, value] : *content.as_table()) {
      const auto found = table->second.find(std::string{name.str()});
      if (found == table->second.end())
        return wrong(value, fmt::format("unknown member '{}.{}'", section.str(), name.str()));
      if (const auto wanted = found->second.take(value); !wanted.empty())
        return wrong(value, fmt::format("'{}.{}' must be {}", section.str(), name.str(), wanted));
    }
  }
  return {};
}

}  // namespace

result<settings> load_settings(const fs::path& file) {
  settings all;
  all.home = default_home();
  auto path = file;
  if (path.empty()) path = environment("DLLS_CONFIG");
  const bool asked_for = !path.empty();
  if (!asked_for) path = all.home / "dlls.toml";
  if (asked_for && !fs::exists(path))
    return error{errc::not_found, fmt::format("no such configuration file: {}", path.string())};
  if (asked_for || fs::exists(path)) {
    toml::table root;
    try {
      root = toml::parse_file(path.string());
    } catch (const toml::parse_error& e) {
      return error{
          errc::invalid_argument,
          fmt::format("{}, line {}: {}", path.string(), e.source().begin.line, e.description())};
    }
    if (auto read = read_table(path, root, all); !read) return read.error();
  }
  if (const auto url = environment("DLLS_URL"); !url.empty()) all.url = url;
  if (all.url.empty()) all.url = fmt::format("http://127.0.0.1:{}", all.http_port);
  const auto fill = [&](fs::path& target, const char* name) {
    if (target.empty()) target = all.home / name;
  };
  fill(all.key_file, "api-key");
  fill(all.coordinator_state, "coordinator");
  fill(all.node_state, "node");
  fill(all.models, "models");
  return all;
}

result<std::pair<std::string, std::uint16_t>> split_address(
    const std::string& text, std::uint16_t port_default) {
  const auto colon = text.rfind(':');
  const bool bracketed = text.starts_with('[');
  const auto close = text.find(']');
  const bool has_port = colon != text.npos && (bracketed ? close != text.npos && colon == close + 1
                                                         : text.find(':') == colon);
  auto host = has_port ? text.substr(0, colon) : text;
  if (bracketed && host.size() > 2) host = host.substr(1, host.size() - 2);
  unsigned port = port_default;
  if (has_port) {
    const auto* end = text.data() + text.size();
    const auto [stop, failed] = std::from_chars(text.data() + colon + 1, end, port);
    if (failed != std::errc{} || stop != end || port == 0 || port > 65535) host.clear();
  }
  if (host.empty())
    return error{
        errc::invalid_argument, fmt::format("'{}' is no address", text), "write HOST:PORT"};
  return std::pair{host, static_cast<std::uint16_t>(port)};
}

}  // namespace dlls::cli
