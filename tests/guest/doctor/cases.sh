# What barter doctor says of a real kernel and its drives, held against what the kernel itself shows.

# finding CODE TEXT: the finding with this code whose fact has the text, as one line of JSON, is in ./finding.
finding() {
  tr -d '\n' <findings | sed 's/  */ /g; s/}, { "severity"/},\n{ "severity"/g' | grep "\"code\": \"$1\"" | grep -F -- "$2" >finding ||
    { cat findings; fail "no finding $1 about \"$2\""; }
}
examine() {
  barter doctor --machine host --json >findings 2>said || { cat said; fail 'doctor ended with an error'; }
}

case_knows_the_kernel() {
  examine
  finding kernel_version "the kernel is $(uname -r)"
  expect_text '"severity": "info"' finding
  finding kernel_option CONFIG_PCI_P2PDMA=y
  expect_text "/boot/config-$(uname -r)" finding
}

case_proves_the_options_without_a_configuration() {
  mv /boot /boot.away
  barter doctor --machine host --json >findings
  mv /boot.away /boot
  finding kernel_option CONFIG_PCI_P2PDMA=y
  expect_text /proc/kallsyms finding
}

case_tells_which_buffers_the_kernel_took() {
  examine
  finding controller_memory "$(function_of nvme0)"
  expect_text 'the kernel has 16 MiB of p2pmem, 16 MiB of it free, published 1' finding
  expect_text '"severity": "info"' finding
  [ ! -e "/sys/bus/pci/devices/$(function_of nvme2)/p2pmem" ] || fail 'Linux took the small buffer after all'
  finding controller_memory "$(function_of nvme2)"
  expect_text 'no multiple of 2 MiB' finding
  expect_text '"severity": "warning"' finding
  grep -q '"code": "no_provider"' findings && fail 'there is a provider, but doctor sees none'
  true
}

case_tells_the_routes() {
  examine
  finding routes 'of 6 ordered pairs of devices: 2 turned around below the root complex, 0 through it, 4 not supported'
  finding host_bridge 8086:29c0
  finding virtual_machine 'virtual machine'
}

case_says_the_same_of_a_dump() {
  cpu=$(awk -F': *' '/^vendor_id/ { vendor = $2 } /^cpu family/ { print vendor ":" $2; exit }' /proc/cpuinfo)
  lspci -xxxx >dump
  barter doctor --machine lspci:dump --cpu "$cpu" --json >findings
  finding routes 'of 6 ordered pairs of devices: 2 turned around below the root complex, 0 through it, 4 not supported'
  finding host_bridge 8086:29c0
  finding not_known "the kernel's version"
}

case_tells_what_another_user_may_not() {
  su nobody -s /bin/sh -c 'barter doctor --machine host --json' >findings
  finding permissions CAP_SYS_ADMIN
  finding not_known ACS
  finding memlock 'may lock'
}

case_refuses_a_probe_without_scratch_space() {
  barter doctor --probe nvme0n1 nvme1n1 >said 2>&1 && fail 'it did not refuse'
  expect_text 'it has no offset' said
}

case_probes_both_ways_and_puts_back() {
  local one two
  one=$(block nvme0) two=$(block nvme1)
  head -c 4194304 /dev/urandom >before
  dd if=before of="$one" bs=1M oflag=direct 2>/dev/null
  dd if=before of="$two" bs=1M oflag=direct 2>/dev/null
  barter doctor --machine host --json --probe "${one#/dev/}@1MiB+1MiB" "${two#/dev/}@2MiB+1MiB" >findings 2>said ||
    { cat findings said; fail 'the probe did not pass'; }
  expect_text '"passed": true' findings
  expect_text '"host_memory_bytes": 0' findings
  expect_text '"not_restored": []' findings
  for drive in "$one" "$two"; do
    dd if="$drive" of=after bs=1M count=4 iflag=direct 2>/dev/null
    cmp before after || fail "$drive holds something else now"
  done
}

case_leaves_a_drive_alone_that_is_in_use() {
  local two status=0
  two=$(block nvme1)
  mkswap "$two" >/dev/null && swapon "$two" || skip 'this guest has no swap'
  barter doctor --machine host --json --probe "$(basename "$(block nvme0)")@0+64KiB" "$(basename "$two")@1MiB+64KiB" >findings 2>said || status=$?
  swapoff "$two"
  cat said
  [ "$status" = 1 ] || { cat findings; fail "status $status"; }
  expect_text 'is in use' findings
  expect_text '"not_restored": []' findings
}
