# By bus address and through the IOMMU: the same address has to do for both.

case_drives_of_one_group_copy_by_bus_address() {
  first=$(function_of nvme0)
  second=$(function_of nvme1)
  head -c 4194304 /dev/urandom >/tmp/pattern
  dd if=/tmp/pattern of="$(block nvme0)" bs=1M conv=fsync 2>/dev/null
  barter why "$second" "$first" --machine host >said
  cat said
  expect_text 'bus_address' said
  barter bind "$first" vfio-pci --with-group
  barter copy "$first+4MiB" "$second" --machine host --policy required --verify >said
  cat said
  expect_text 'through the memory of' said
  expect_text 'byte for byte the same' said
  if dmesg | grep 'DMAR: .*fault addr'; then fail 'a request faulted'; fi
  barter bind "$second" nvme
  linux_has_it() { block nvme1 >/dev/null 2>&1 && [ -b "$(block nvme1)" ]; }
  wait_until 20 linux_has_it
  cmp -n 4194304 "$(block nvme1)" /tmp/pattern
}
