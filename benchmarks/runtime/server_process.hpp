// This program once more, as the server of a benchmark: `PROGRAM --serve ARGUMENTS`. It prints its
// port and ends when its input does.
#pragma once
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace dlls::bench {

class server_process {
 public:
  explicit server_process(std::vector<std::string> arguments) {
    int to_child[2], from_child[2];
    if (pipe2(to_child, O_CLOEXEC) || pipe2(from_child, O_CLOEXEC)) std::abort();
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, to_child[0], 0);
    posix_spawn_file_actions_adddup2(&files, from_child[1], 1);
    std::string program = "/proc/self/exe", serve = "--serve";
    std::vector<char*> words{program.data(), serve.data()};
    for (auto& a : arguments) words.push_back(a.data());
    words.push_back(nullptr);
    if (posix_spawn(&process_, program.data(), &files, nullptr, words.data(), environ))
      std::abort();
    posix_spawn_file_actions_destroy(&files);
    close(to_child[0]);
    close(from_child[1]);
    input_ = to_child[1];
    std::FILE* output = fdopen(from_child[0], "r");
    int port = 0;
    if (std::fscanf(output, "%d", &port) != 1) std::abort();
    std::fclose(output);
    port_ = static_cast<std::uint16_t>(port);
  }
  ~server_process() {
    close(input_);
    waitpid(process_, nullptr, 0);
  }
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;
  std::uint16_t port() const { return port_; }

  // For the server itself.
  static void tell_port(std::uint16_t port) {
    std::printf("%d\n", port);
    std::fflush(stdout);
  }
  static void wait_for_the_end() {
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
  }

 private:
  pid_t process_ = 0;
  int input_ = -1;
  std::uint16_t port_ = 0;
};

// Goes away with everything in it.
class scratch_folder {
 public:
  scratch_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "dlls-bench-XXXXXX").string();
    if (!mkdtemp(name.data())) std::abort();
    path = name;
  }
  ~scratch_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  std::filesystem::path path;
};

}  // namespace dlls::bench
