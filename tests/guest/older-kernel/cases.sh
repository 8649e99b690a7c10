# A kernel without CONFIG_PCI_P2PDMA: topology and verdicts are there as ever, p2pmem is not.

case_the_kernel_was_built_without_p2pdma() {
  uname -r
  grep -q '^# CONFIG_PCI_P2PDMA is not set' "/boot/config-$(uname -r)" || fail 'this kernel has p2pdma after all'
  [ ! -e "/sys/bus/pci/devices/$(function_of nvme0)/p2pmem" ] || fail 'there is p2pmem all the same'
}

case_barter_still_knows_the_topology() {
  barter topo --machine host --json >said
  expect_text "$(function_of nvme0)" said
  barter why "$(function_of nvme1)" "$(function_of nvme0)" --machine host --json >said
  expect_text '"route": "bus_address"' said
}

case_doctor_names_the_option() {
  barter doctor --machine host >said
  cat said
  expect_text 'CONFIG_PCI_P2PDMA is off' said
  expect_text "/boot/config-$(uname -r)" said
}

case_copies_go_by_way_of_host_memory() {
  dd if=/dev/urandom of="$(block nvme0)" bs=1M count=16 conv=fsync 2>/dev/null
  barter copy "$(block nvme0)+16MiB" "$(block nvme1)" --machine host --policy required >said 2>&1 && fail 'it went direct'
  expect_text 'the kernel lends no memory of it' said
  barter copy "$(block nvme0)+16MiB" "$(block nvme1)" --machine host --verify >said
  cat said
  expect_text 'the kernel lends no memory of it' said
  expect_text 'byte for byte the same' said
}
