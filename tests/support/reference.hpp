// Where tests find reference outputs and the model they were made with.
#pragma once
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <optional>

namespace dlls::test {

// The repository that the tests run in: the nearest folder above with the references in it. (Not
// from __FILE__, which a compiler cache makes relative.)
inline std::filesystem::path repository() {
  auto folder = std::filesystem::current_path();
  while (!std::filesystem::exists(folder / "tests" / "parity" / "reference")) {
    if (folder == folder.parent_path()) FAIL("run the tests inside the repository");
    folder = folder.parent_path();
  }
  return folder;
}

// What is in the tree alone.
inline std::filesystem::path tree_reference_folder() {
  return repository() / "tests" / "parity" / "reference";
}

// The folder in DLLS_REFERENCE, else the copies in the tree.
inline std::filesystem::path reference_folder() {
  if (const char* named = std::getenv("DLLS_REFERENCE")) return named;
  return tree_reference_folder();
}

// The file in DLLS_TEST_MODEL, else where tools/quickstart puts it. Absent: warns, so that a
// skipped test is seen, and gives nothing.
inline std::optional<std::filesystem::path> test_model() {
  const char* named = std::getenv("DLLS_TEST_MODEL");
  const auto path = named ? std::filesystem::path{named}
                          : repository() / ".cache" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (std::filesystem::exists(path)) return path;
  WARN("SKIPPED: no model file at " << path.string() << "; set DLLS_TEST_MODEL");
  return std::nullopt;
}

}  // namespace dlls::test
