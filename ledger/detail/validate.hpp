// The limits of records.hpp, checked before an operation is queued.
#pragma once
#include "base/error.hpp"
#include "ledger/records.hpp"

namespace dlls::ledger::detail {

base::result<> validate(const new_job& j);
base::result<> validate(const edge& e);
base::result<> validate(const new_event& e);
base::result<> validate(const job_filter& f);
base::result<> validate(const file& f);
base::result<> validate(const file_filter& f);
base::result<> validate(const api_key& k);
base::result<> validate(const redemption& r);
// An id, owner, node or key: 1 to name_bytes_max bytes of UTF-8 without control characters.
base::result<> validate_name(std::string_view field, std::string_view value);
base::result<> validate_hash(std::string_view field, std::string_view value);
base::result<> validate_json(std::string_view field, std::string_view value);
base::result<> validate_limit(std::uint32_t limit);

}  // namespace dlls::ledger::detail
