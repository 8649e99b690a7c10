# A drive behind VFIO that is unplugged in mid-copy: the kernel asks for it back, and waits until it is closed. QEMU's slots
# wait five seconds before they ask, so the copies are of small chunks, one at a time, to be still at it then.

bdf_of() { cat "/tmp/bdf.$1"; }
here() { [ -e "/sys/bus/pci/devices/$(bdf_of "$1")" ]; }
gone() { ! here "$1"; }

# holds PID COUNT: has the process opened so many devices?
holds() { [ "$(ls -l "/proc/$1/fd" 2>/dev/null | grep -c vfio-device)" -ge "$2" ]; }

# copy_while_unplugging DRIVE DEVICES COPY_OPTIONS...: once the copy has opened so many devices. Leaves what the copy said in `said`
# and `errors`, and how it ended in $status.
copy_while_unplugging() {
  leaving=$1
  devices=$2
  shift 2
  barter copy "$(bdf_of source)" "$(bdf_of destination)" --machine host --chunk 4KiB --queue-depth 1 --json "$@" >said 2>errors &
  copying=$!
  wait_until 20 holds $copying "$devices" || fail "it did not begin: $(cat said errors)"
  monitor device_del "$leaving"
  wait $copying && status=0 || status=$?
  cat said errors
}

case_drives_are_given_to_vfio() {
  for name in source destination provider; do function_of $name >/tmp/bdf.$name; done
  dd if=/dev/urandom of="$(block source)" bs=1M count=128 conv=fsync 2>/dev/null
  for name in source destination provider; do barter bind "$(bdf_of $name)" vfio-pci; done
}

# What went there before is on the destination; the rest goes by way of host memory.
case_memory_that_is_unplugged_in_mid_copy() {
  copy_while_unplugging provider 3 --policy preferred --via "$(bdf_of provider)" --verify
  [ "$status" = 0 ] || fail "it ended with $status"
  expect_text '"route": "peer"' said
  expect_text '"code": "revoked"' said
  expect_text '"verified": true' said
  wait_until 20 gone provider || fail 'the kernel did not get it back'
}

# Then the source itself.
case_a_drive_that_is_unplugged_in_mid_copy() {
  copy_while_unplugging source 2 --policy preferred
  [ "$status" = 2 ] || fail "it ended with $status"
  expect_text 'the kernel asks for it back' errors
  expect_text 'bytes had been copied' errors
  wait_until 20 gone source || fail 'the kernel did not get it back'
  here destination || fail 'the other one is gone too'
}
