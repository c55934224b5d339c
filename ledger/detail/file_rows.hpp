// Files' metadata as rows; each function is one operation inside the writer's transaction.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "ledger/detail/operation.hpp"
#include "ledger/records.hpp"

namespace dlls::ledger::detail {

base::result<file> add_file(transaction& t, const file& f);
base::result<file> find_file(
    transaction& t, const std::optional<std::string>& owner, const std::string& id);
base::result<page<file>> list_files(transaction& t, const file_filter& f);
base::result<file> delete_file(
    transaction& t, const std::optional<std::string>& owner, const std::string& id);
base::result<std::vector<std::string>> unused_blobs(
    transaction& t, const std::vector<std::string>& sha256);

}  // namespace dlls::ledger::detail
