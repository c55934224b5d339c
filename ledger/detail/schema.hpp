// The tables, their version, and the state in which a connection may be used. Prose:
// docs/schema.md.
#pragma once
#include "base/error.hpp"
#include "ledger/detail/connection.hpp"
#include "ledger/sqlite_ledger.hpp"

namespace dlls::ledger::detail {

// Raised with every change of the tables; an older file is brought forward at open.
inline constexpr int schema_version = 1;
inline constexpr int application_id = 0x444c4c53;  // "DLLS", in the file's header

// Sets the pragmas, takes the exclusive lock, checks the file, creates or migrates the tables.
// Throws sqlite_failure.
base::result<> prepare_database(connection& db, const sqlite_options& options);

}  // namespace dlls::ledger::detail
