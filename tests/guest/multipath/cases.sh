# nvme-multipath puts a block device above a drive that may have several paths, and does not pass on that the drive takes memory
# of peers.

case_nvme_multipath_is_named() {
  subsystem=$(dirname "$(grep -l '^many' /sys/devices/virtual/nvme-subsystem/*/serial)")
  head=$(ls -d "$subsystem"/nvme*n1 2>/dev/null)
  [ -n "$head" ] || fail 'there is no multipath device'
  head=/dev/$(basename "$head")
  barter copy "$head+4MiB" "$(block plain)" --machine host --policy required >said 2>&1 && fail 'it went direct'
  cat said
  expect_text 'nvme-multipath' said
  expect_text 'nvme_core.multipath=N' said
  dd if=/dev/urandom of="$(block plain)" bs=1M count=4 conv=fsync 2>/dev/null
  barter copy "$head+4MiB" "$(block plain)" --machine host >said
  cat said
  expect_text 'nvme-multipath' said
  cmp -n $((4 << 20)) "$head" "$(block plain)" || fail 'they differ'
}
