// A schema from anywhere, and a text from anywhere read by its grammar: errors are typed, the work
// is bounded, going back is exact, and what is accepted is JSON.
#include <boost/json.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "model/grammar_matcher.hpp"
#include "model/json_schema.hpp"

using namespace dlls;
using namespace dlls::model;

namespace {
void require(bool condition) {
  if (!condition) __builtin_trap();
}
}  // namespace

// The schema ends at the first NUL; what follows is the text. Where a byte may not come, the next
// one that may is taken instead, so that the fuzzer gets anywhere.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view all{reinterpret_cast<const char*>(data), size};
  const auto end = all.find('\0');
  auto made = json_schema_grammar(all.substr(0, end));
  if (!made) {
    require(
        made.error().code == base::errc::invalid_argument ||
        made.error().code == base::errc::unsupported);
    return 0;
  }
  if (end == std::string_view::npos) return 0;
  grammar_matcher text{std::make_shared<const grammar>(std::move(*made))};
  std::string taken;
  for (const char c : all.substr(end + 1)) {
    const bool open = text.open();
    bool done = false;
    for (unsigned i = 0; i < 256 && !done; ++i) {
      const auto byte = static_cast<std::uint8_t>(static_cast<std::uint8_t>(c) + i);
      done = text.push(byte);
      if (done) taken += static_cast<char>(byte);
    }
    require(done == open);
    if (!done) break;
    if (static_cast<std::uint8_t>(c) % 16 == 0) text.commit();
  }
  if (text.complete()) {
    boost::json::parse_options options;
    options.max_depth = 1 << 16;
    boost::system::error_code wrong;
    boost::json::parse({taken.data(), taken.size()}, wrong, {}, options);
    require(!wrong);
  }
  return 0;
}
