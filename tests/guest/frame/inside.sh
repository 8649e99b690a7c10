# What a case may call, inside the guest (docs/guest.md). Sourced by init and before each case; busybox's shell.

# The case ends here: it failed, or it can't run.
fail() {
  printf '%s\n' "$*" | tee /tmp/why
  exit 1
}
skip() {
  printf '%s\n' "$*" | tee /tmp/why
  exit 77
}

# expect_text TEXT FILE: it is in there.
expect_text() {
  grep -qF -- "$1" "$2" && return 0
  cat "$2"
  fail "no \"$1\" in what it said"
}

# controller NAME: what Linux calls the drive that the machine's description calls NAME: nvme3.
controller() {
  local folder
  for folder in /sys/class/nvme/nvme*; do
    [ "$(tr -d ' ' <"$folder/serial" 2>/dev/null)" = "$1" ] || continue
    basename "$folder"
    return 0
  done
  echo "no drive is called $1" >&2
  return 1
}
# block NAME [NUMBER]: the block device of a namespace, the first one unless told: /dev/nvme3n1.
block() {
  local found
  found=$(controller "$1") && echo "/dev/${found}n${2:-1}"
}
# function_of NAME: its PCI address: 0000:03:00.0.
function_of() {
  local found
  found=$(controller "$1") && basename "$(readlink -f "/sys/class/nvme/$found/device")"
}
# allocate NAME: the file from which its controller memory is had.
allocate() {
  local found
  found=$(function_of "$1") && echo "/sys/bus/pci/devices/$found/p2pmem/allocate"
}

# wait_until SECONDS COMMAND...: until it succeeds.
wait_until() {
  local tenths=$(($1 * 10))
  shift
  while ! "$@"; do
    [ "$tenths" -gt 0 ] || return 1
    tenths=$((tenths - 1))
    sleep 0.1
  done
}
drives_are_there() {
  local functions live=0 state
  functions=$(grep -l '^0x0108' /sys/bus/pci/devices/*/class 2>/dev/null | wc -l)
  for state in /sys/class/nvme/nvme*/state; do
    [ "$(cat "$state" 2>/dev/null)" = live ] && ls "${state%/state}" | grep -q 'nvme.*n[0-9]*$' && live=$((live + 1))
  done
  [ "$live" -ge "$functions" ]
}
wait_for_drives() { wait_until 20 drives_are_there || echo 'not all drives came up'; }

# monitor COMMAND...: a command to QEMU's monitor: monitor device_del nvme0.
# What the monitor said before anybody listened came back to it as the beginning of a command: an empty line ends that.
monitor() { printf '\r%s\r' "$*" >/dev/ttyS1; }

# probe NAME FUNCTION: from now on the trace has a line with NAME and ret=VALUE for each return of a kernel function.
# traced NAME: those lines. trace_anew: forgets them.
probe() {
  echo "r:$1 $2 ret=\$retval:s32" >>/sys/kernel/tracing/kprobe_events || return 1
  echo 1 >"/sys/kernel/tracing/events/kprobes/$1/enable"
  echo 1 >/sys/kernel/tracing/tracing_on
}
traced() { grep " $1: " /sys/kernel/tracing/trace; }
trace_anew() { : >/sys/kernel/tracing/trace; }

# send FILE [NAME]: brings a file out of the guest, to where the test's results are.
send() {
  {
    echo "file ${2:-$(basename "$1")}"
    gzip -c "$1" | base64 | sed 's/^/ /'
    echo 'file ends'
  } >/dev/ttyS2
}
