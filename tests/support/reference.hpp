// Where tests find reference outputs and the model they were made with.
#pragma once
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <optional>

namespace dlls::test {

// The folder in DLLS_REFERENCE, else the copies in the tree.
inline std::filesystem::path reference_folder() {
  if (const char* named = std::getenv("DLLS_REFERENCE")) return named;
  return std::filesystem::path{__FILE__}.parent_path().parent_path() / "parity" / "reference";
}

// The file in DLLS_TEST_MODEL, else where tools/quickstart puts it. Absent: warns, so that a
// skipped test is seen, and gives nothing.
inline std::optional<std::filesystem::path> test_model() {
  const auto root = std::filesystem::path{__FILE__}.parent_path().parent_path().parent_path();
  const char* named = std::getenv("DLLS_TEST_MODEL");
  const std::filesystem::path path =
      named ? named : root / ".cache" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (std::filesystem::exists(path)) return path;
  WARN("SKIPPED: no model file at " << path.string() << "; set DLLS_TEST_MODEL");
  return std::nullopt;
}

}  // namespace dlls::test
