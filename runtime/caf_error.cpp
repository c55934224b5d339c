#include "runtime/caf_error.hpp"

#include <fmt/core.h>

#include <caf/actor_system_config.hpp>
#include <caf/error.hpp>
#include <caf/exit_reason.hpp>
#include <caf/message.hpp>
#include <caf/sec.hpp>
#include <string>

namespace dlls::runtime {
namespace {

constexpr auto our_category = caf::atom("dlls");
constexpr auto last_code = static_cast<std::uint8_t>(base::errc::too_long);

base::error ours(const caf::error& e) {
  const auto& context = e.context();
  base::error result;
  if (e.code() > 0 && e.code() <= last_code) result.code = static_cast<base::errc>(e.code());
  const bool detailed =
      context.match_elements<std::string, std::string, std::string, std::uint32_t>();
  if (detailed || context.match_elements<std::string, std::string>()) {
    result.message = context.get_as<std::string>(0);
    result.hint = context.get_as<std::string>(1);
  }
  if (detailed) {
    result.param = context.get_as<std::string>(2);
    result.retry_after_s = context.get_as<std::uint32_t>(3);
  }
  if (result.message.empty()) result.message = "an error without a message";
  return result;
}

base::error from_sec(caf::sec code, const std::string& text, std::string_view who) {
  using base::errc;
  switch (code) {
    case caf::sec::request_timeout:
      return {errc::deadline_exceeded, fmt::format("no answer from {} in time", who)};
    case caf::sec::request_receiver_down:
    case caf::sec::remote_linking_failed:
    case caf::sec::no_route_to_receiving_node:
    case caf::sec::cannot_forward_to_invalid_actor:
    case caf::sec::socket_disconnected:
    case caf::sec::connection_timeout:
    case caf::sec::cannot_connect_to_node:
    case caf::sec::disconnect_during_handshake:
      return {errc::unavailable, fmt::format("{} vanished: {}", who, text)};
    case caf::sec::unexpected_message:
      return {errc::unsupported, fmt::format("{} does not know this message", who)};
    case caf::sec::unexpected_response:
      return {errc::internal, fmt::format("{} answered with an unexpected type", who)};
    case caf::sec::end_of_stream:
    case caf::sec::malformed_basp_message:
    case caf::sec::serializing_basp_payload_failed:
    case caf::sec::unknown_type:
      return {errc::corrupt, fmt::format("a message of {} could not be read: {}", who, text)};
    case caf::sec::invalid_argument:
      return {errc::invalid_argument, text};
    case caf::sec::incompatible_versions:
    case caf::sec::incompatible_application_ids:
      return {errc::version_mismatch, fmt::format("{}: {}", who, text)};
    default:
      return {errc::internal, fmt::format("{}: {}", who, text)};
  }
}

}  // namespace

caf::error to_caf(const base::error& e) {
  const auto code = e.code == base::errc::ok ? base::errc::internal : e.code;
  // The short form is what every version of the protocol reads.
  const bool brief = e.param.empty() && e.retry_after_s == 0;
  return {
      static_cast<std::uint8_t>(code), our_category,
      brief ? caf::make_message(e.message, e.hint)
            : caf::make_message(e.message, e.hint, e.param, e.retry_after_s)};
}

base::error from_caf(const caf::error& e, std::string_view who) {
  if (!e) return {base::errc::unavailable, fmt::format("{} ended", who)};
  if (e.category() == our_category) return ours(e);
  if (e.category() == caf::atom("exit")) {
    const auto reason = static_cast<caf::exit_reason>(e.code());
    return {base::errc::unavailable, fmt::format("{} vanished: {}", who, to_string(reason))};
  }
  if (e.category() == caf::atom("system")) {
    const auto code = static_cast<caf::sec>(e.code());
    const auto& context = e.context();
    const bool explained = context.match_elements<std::string>();
    return from_sec(code, explained ? context.get_as<std::string>(0) : to_string(code), who);
  }
  return {base::errc::internal, fmt::format("{}: {}", who, to_string(e))};
}

base::error current_exception_error() {
  try {
    throw;
  } catch (const base::failure& f) {
    return f.why();
  } catch (const std::exception& e) {
    return {base::errc::internal, e.what()};
  } catch (...) {
    return {base::errc::internal, "an exception of unknown type"};
  }
}

void announce_errors(caf::actor_system_config& config) {
  config.add_error_category(
      our_category, [](std::uint8_t code, caf::atom_value category, const caf::message& context) {
        return from_caf(caf::error{code, category, context}).text();
      });
}

}  // namespace dlls::runtime
