# What the verbs of ./dev share. Sourced, with the repository as the current directory and `set -euo pipefail` on.

# What building, testing and the demo need; docs/decisions/0002-libraries.md says what each library is for.
base_packages="g++ cmake ninja-build pkg-config ccache jq pciutils libpci-dev libhwloc-dev libfmt-dev libspdlog-dev
  libcli11-dev nlohmann-json3-dev libtomlplusplus-dev libxxhash-dev zlib1g-dev libgtest-dev libgmock-dev libbenchmark-dev
  librapidcheck-dev libnvme-dev liburing-dev"
# What `check`, `fuzz` and the clang preset need beside them.
clang_packages="clang-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev"

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 2
}

# missing_of PACKAGE...: those that are not installed.
missing_of() {
  local package
  for package in "$@"; do
    case "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" in
      installed) ;;
      *) printf '%s ' "$package" ;;
    esac
  done
}

update_lists() {
  "$@" apt-get update -q >&2 || die "apt-get update failed; is there a network, and a source of packages in /etc/apt?"
}

# install PACKAGE...: from Debian's packages; says nothing when all are there.
install() {
  command -v dpkg-query >/dev/null || die "this is not a Debian system; install by hand what tools/lib.sh lists"
  local missing as_root=()
  missing=$(missing_of "$@")
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "these packages are missing: $missing; run ./dev setup as root, or install sudo"
    as_root=(sudo)
  fi
  say "installing: $missing"
  # shellcheck disable=SC2086 # a list of names
  set -- env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -q $missing
  # The lists of packages may be missing or old: fetch them if there are none, or if those that are there do not do.
  if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then update_lists "${as_root[@]}"; fi
  if ! "${as_root[@]}" "$@" >&2; then
    update_lists "${as_root[@]}"
    "${as_root[@]}" "$@" >&2 || die "apt-get could not install: $missing"
  fi
}

setup_packages() {
  case "${1:-}" in
    '') install $base_packages ;;
    all) install $base_packages $clang_packages ;;
    *) die "setup takes nothing, or the word all" ;;
  esac
}

# setup_for PRESET
setup_for() {
  case "$1" in
    clang | fuzz) setup_packages all ;;
    *) setup_packages ;;
  esac
}

# How many compilers at once: one for each core, but no more than fit memory at 1 GiB each.
jobs() {
  local cores memory_kib fitting
  cores=$(nproc)
  memory_kib=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo 2>/dev/null || true)
  fitting=$((${memory_kib:-1048576} / 1048576))
  [ "$fitting" -ge 1 ] || fitting=1
  echo $((cores < fitting ? cores : fitting))
}

# without_aslr PRESET COMMAND...: ThreadSanitizer of g++ 12 can't find its shadow memory where kernels since 6.6 spread
# the address space wider than it knows; its programs run with the spreading off where the system lets us.
without_aslr() {
  local preset=$1
  shift
  if [ "$preset" = tsan ] && setarch -R true 2>/dev/null; then
    setarch -R "$@"
  else
    "$@"
  fi
}

# ccache knows an object again in any checkout: paths below it count as relative, and the folder itself does not count.
use_ccache() {
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
  [ -n "${HOME:-}" ] || export CCACHE_DIR=${CCACHE_DIR:-$PWD/build/ccache}
}

# configure PRESET: only if it was not done yet, or the presets have changed since. Ninja looks after the rest.
configure() {
  local folder=build/$1 launcher=()
  if [ -f "$folder/build.ninja" ] && [ "$folder/build.ninja" -nt CMakePresets.json ]; then return 0; fi
  [ -f CMakePresets.json ] && grep -q "\"name\": \"$1\"" CMakePresets.json || die "there is no preset called $1"
  if command -v ccache >/dev/null; then
    launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  fi
  cmake --preset "$1" "${launcher[@]}"
}

# build_preset PRESET [TARGET...]
build_preset() {
  local preset=$1 target targets=()
  shift
  for target in "$@"; do targets+=(--target "$target"); done
  use_ccache
  configure "$preset"
  without_aslr "$preset" cmake --build "build/$preset" --parallel "$(jobs)" "${targets[@]}"
}

# The same for verbs whose own output matters: what the build says goes to a file, and is shown if it fails.
build_quietly() {
  local preset=$1 log=build/$1.log status=0
  setup_for "$preset"
  mkdir -p build
  [ -f "build/$preset/build.ninja" ] || say "building barter (preset $preset); the first time this takes a few minutes"
  build_preset "$@" >"$log" 2>&1 || status=$?
  if [ "$status" -ne 0 ]; then
    cat "$log" >&2
    die "the build failed; the text above is in $log"
  fi
}

# run_tests PRESET [CTEST ARGS...]: all but those that boot a guest, which ./dev guest runs.
run_tests() {
  local preset=$1
  shift
  export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
  export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
  without_aslr "$preset" ctest --test-dir "build/$preset" --parallel "$(nproc)" --output-on-failure --no-tests=error \
    -LE "^guest$" "$@"
}

# is_number TEXT
is_number() {
  case "$1" in '' | *[!0-9]*) return 1 ;; esac
}

# check_simulation [SEED] [--steps N] [--from STEP]: refuses what makes no sense before anything is built. What is left to
# memory_sim is to say how large a number may be.
check_simulation() {
  if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then
    is_number "$1" || die "a seed is a decimal number, not $1"
    shift
  fi
  while [ $# -gt 0 ]; do
    case "$1" in
      --steps | --from) ;;
      *) die "./dev sim takes [SEED] [--steps N] [--from STEP], not $1" ;;
    esac
    [ $# -ge 2 ] || die "$1 needs a number of steps"
    is_number "$2" || die "$1 needs a number of steps, not $2"
    shift 2
  done
}

# run_simulations PRESET [SEED] [--steps N] [--from STEP]: memory that moves; without --steps whole copies with faults, too.
run_simulations() {
  local preset=$1 seed status=0
  shift
  if [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; then
    seed=$1
    shift
  else
    seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
  fi
  say "seed $seed; ./dev sim $seed${*:+ $*} runs the same again"
  without_aslr "$preset" "build/$preset/tests/memory_sim" "$seed" "$@" || status=$?
  if [ $# -eq 0 ] && [ "$status" -eq 0 ]; then
    BARTER_SIM_SEED=$seed without_aslr "$preset" "build/$preset/tests/sim_test" --gtest_filter='CopyWithFaults.*' || status=$?
  fi
  return "$status"
}
