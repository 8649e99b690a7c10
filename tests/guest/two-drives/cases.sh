# What the frame promises to every test, and what Barter says of the smallest machine.

case_drives_have_their_names() {
  for name in nvme0 nvme1; do
    echo "$name is $(block $name), $(function_of $name)"
    [ -b "$(block $name)" ] || fail "$name is no block device"
  done
  [ "$(blockdev --getsize64 "$(block nvme0)")" = $((64 << 20)) ] || fail 'nvme0 is not as large as described'
}

case_linux_has_the_controller_memory() {
  [ "$(cat "/sys/bus/pci/devices/$(function_of nvme0)/p2pmem/size")" = $((16 << 20)) ] || fail 'p2pmem is not 16 MiB'
  [ ! -e "/sys/bus/pci/devices/$(function_of nvme1)/p2pmem" ] || fail 'nvme1 has p2pmem too'
}

case_barter_sees_the_switch() {
  barter why "$(function_of nvme1)" "$(function_of nvme0)" --machine host >said
  cat said
  expect_text 'bus_address' said
}

case_another_user_sees_less() {
  su nobody -s /bin/sh -c 'id -u; head -c 1 "$1"' - "$(block nvme0)" >said 2>&1 && fail 'nobody may read a drive'
  expect_text 65534 said
  expect_text 'Permission denied' said
}

case_the_monitor_takes_a_drive_away() {
  gone=/sys/bus/pci/devices/$(function_of nvme1)
  monitor device_del nvme1
  is_gone() { [ ! -e "$gone" ]; }
  wait_until 20 is_gone || fail 'nvme1 is still there'
}
