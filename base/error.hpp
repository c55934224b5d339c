// Expected failures: a code a program can branch on, and a sentence a person can act on.
#pragma once
#include <boost/system/result.hpp>
#include <cstdint>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dlls::base {

// The kinds of failure that the rooms of the project report to one another. Each maps to one HTTP
// status (gateway/) and one exit code (cli/). Values travel in messages and stand in the ledger:
// append only.
enum class errc : unsigned char {
  ok = 0,
  invalid_argument = 1,     // the caller's input is wrong; the message says where
  not_found = 2,            // no such file, job, model, node
  already_exists = 3,       // same name or key, other content
  failed_precondition = 4,  // right request, wrong state (an illegal edge, a job that has ended)
  permission_denied = 5,    // known caller, not allowed
  unauthenticated = 6,      // unknown caller
  resource_exhausted = 7,   // a limit or a full queue; trying later helps
  storage_full = 8,         // no space left on a disk of ours
  unavailable = 9,          // the other side is away; trying later helps
  deadline_exceeded = 10,   // no answer within the time given
  cancelled = 11,           // somebody asked for it
  corrupt = 12,             // bytes that fail a check: checksum, bounds, format
  version_mismatch = 13,    // the peer speaks another protocol version
  stale = 14,               // an older fencing token or epoch
  io = 15,                  // the operating system refused
  internal = 16,            // a bug on our side, contained
  unsupported = 17,         // understood, and not built into this program
  too_long = 18,            // more tokens than a model's context or its cache can ever hold
};

// The code's stable name, "not_found". Never fails.
std::string_view name(errc code) noexcept;

// A value type; owns its text. The message is one sentence without a trailing full stop; where
// there is a way out, `hint` says it ("run `dlls enroll` on the coordinator for a new token").
// `param` is the part of the caller's input that is meant, as the HTTP interface names it
// ("tools[3].function.name"). `retry_after_s`, where it is known: when trying again may help.
struct error {
  errc code = errc::internal;
  std::string message;
  std::string hint;
  std::string param;
  std::uint32_t retry_after_s = 0;  // 0: unknown

  error() = default;
  error(errc c, std::string m, std::string h = {})
      : code(c), message(std::move(m)), hint(std::move(h)) {}
  // The same error, said of a part of the input.
  error about(std::string which) const;
  // "not_found: no model 'x' (hint)"
  std::string text() const;
  friend bool operator==(const error&, const error&) = default;
  friend std::ostream& operator<<(std::ostream& out, const error& e) { return out << e.text(); }
};

// The exception form, for code in which a failure ends the whole operation.
class failure : public std::runtime_error {
 public:
  explicit failure(error e) : std::runtime_error(e.text()), error_(std::move(e)) {}
  const error& why() const noexcept { return error_; }

 private:
  error error_;
};

// A T or an error. `value()` on an error throws `failure`; `operator*` is unchecked.
template <class T = void>
using result = boost::system::result<T, error>;

// What boost::system::result calls from value(); found by argument-dependent lookup.
[[noreturn]] void throw_exception_from_error(const error& e, const boost::source_location&);

// error{io, "open /x: No such file or directory"} from errno, read at the call. ENOENT gives
// not_found, ENOSPC and EDQUOT storage_full, EACCES and EPERM permission_denied.
error errno_error(std::string_view what);

}  // namespace dlls::base
