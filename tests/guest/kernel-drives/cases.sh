# barter copy on this computer: drives, partitions and files that Linux drives, by p2pmem and, where that can't be, by way of host
# memory with the reason.

here() {
  source=$(block source) destination=$(block destination) third=$(block third)
  mkdir -p /mnt/a /mnt/b
}
# random BLOCK MIB [SKIP]: bytes that nothing else has.
random() { dd if=/dev/urandom of="$1" bs=1M count="$2" seek="${3:-0}" conv=fsync 2>/dev/null; }
# copy ARGS...: it works; what it said is in `said`.
copy() {
  barter copy "$@" --machine host >said 2>errors || { cat said errors; fail "barter copy $*"; }
  cat said
}
# refused TEXT ARGS...: it does not, and says so.
refused() {
  local text=$1
  shift
  if barter copy "$@" --machine host >said 2>errors; then
    cat said
    fail "barter copy $* was not refused"
  fi
  cat errors
  expect_text "$text" errors
}
# same ONE OTHER MIB [OFFSETS]: nothing of the page cache is believed.
same() {
  sync
  echo 3 >/proc/sys/vm/drop_caches
  cmp -n $(($3 << 20)) "$1" "$2" || fail "$1 and $2 differ"
}
# A mounted file system writes to its drive when it likes: ext4 to its group descriptors, a while after the first mount.
no_file_systems() {
  umount /mnt/a 2>/dev/null || true
  umount /mnt/b 2>/dev/null || true
}
fresh_file_systems() {
  no_file_systems
  wipe "$source" && wipe "$destination"
  mkfs.ext4 -qF "$source" && mount -t ext4 "$source" /mnt/a
  mkfs.xfs -qf "$destination" && mount -t xfs "$destination" /mnt/b
}
# Two partitions of 32 MiB each, from 1 MiB on: the old table in the first sector.
partition() {
  wipe "$1"
  printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\0\001\0\0\0\0\0\203\0\0\0\0\010\001\0\0\0\001\0' |
    dd of="$1" bs=1 seek=446 conv=fsync 2>/dev/null
  printf '\125\252' | dd of="$1" bs=1 seek=510 conv=fsync 2>/dev/null
  blockdev --rereadpt "$1"
  wait_until 5 test -b "${1}p2" || fail "$1 has no partitions"
}
unpartition() {
  wipe "$1"
  wipe "$1"
  blockdev --rereadpt "$1"
}
wipe() { dd if=/dev/zero of="$1" bs=1M count=2 conv=fsync 2>/dev/null; }

case_straight_through_memory_of_the_source() {
  here
  random "$source" 64
  copy "$(basename "$source")+64MiB" "$(basename "$destination")" --policy required --verify
  expect_text "peer, through the memory of $(basename "$source")" said
  expect_text ' 0 bytes of data' said
  expect_text 'byte for byte the same' said
  same "$source" "$destination" 64
}

case_and_of_the_destination() {
  here
  random "$destination" 32
  copy "$destination+32MiB" "$source" --policy required --queue-depth 8 --chunk 512KiB
  expect_text 'peer, through the memory of' said
  same "$source" "$destination" 32
}

case_and_of_a_third_drive() {
  here
  random "$source" 32
  copy "$source+32MiB" "$destination" --policy required --via "$(basename "$third")" --json
  expect_text "\"provider_bdf\": \"$(function_of third)\"" said
  same "$source" "$destination" 32
}

# fio shows what is meant: the kernel can't start a request larger than the drive's commands without sleeping, so a thread of it
# begins anew.
case_no_request_waits_for_a_thread_of_the_kernel() {
  here
  handed_over=/sys/kernel/tracing/events/io_uring/io_uring_queue_async_work/enable
  echo 1 >"$handed_over"
  echo 1 >/sys/kernel/tracing/tracing_on
  trace_anew
  fio --name=large --ioengine=io_uring --direct=1 --rw=read --bs=1M --size=8M --filename="$source" --thread=0 >said 2>errors
  traced io_uring_queue_async_work >/dev/null || { echo 0 >"$handed_over"; fail "a request of 1 MiB was not handed over"; }
  for policy in required disabled; do
    trace_anew
    copy "$source+32MiB" "$destination" --policy "$policy"
    traced io_uring_queue_async_work >handed || true
    [ ! -s handed ] || { echo 0 >"$handed_over"; head -n 3 handed; fail "$(wc -l <handed) with policy $policy"; }
  done
  echo 0 >"$handed_over"
}

case_linux_mapped_it_for_peers() {
  here
  probe verdict pci_p2pdma_map_type || skip 'this kernel lets nothing be traced'
  copy "$source+4MiB" "$destination" --policy required
  traced verdict | grep -v 'ret=3$' && fail 'not every request was mapped by bus address'
  traced verdict | grep -q 'ret=3$' || fail 'no request was mapped for a peer'
}

case_by_controller_and_by_function() {
  here
  random "$source" 4
  copy "$(controller source)+4MiB" "$(function_of destination)" --policy required
  same "$source" "$destination" 4
}

case_partitions() {
  here
  partition "$source"
  random "${source}p1" 8
  copy "${source}p1+8MiB" "${source}p2@1MiB" --policy required
  dd if="${source}p2" of=/tmp/part bs=1M skip=1 count=8 2>/dev/null
  cmp -n $((8 << 20)) "${source}p1" /tmp/part || fail 'the partitions differ'
  refused 'overlap' "${source}p1+8MiB" "$source@1MiB"
  unpartition "$source"
}

case_files_on_ext4_and_xfs() {
  here
  fresh_file_systems
  random /mnt/a/x 24
  copy /mnt/a/x /mnt/b/y --policy required --verify
  expect_text 'peer, through the memory of' said
  same /mnt/a/x /mnt/b/y 24
  copy /mnt/b/y /mnt/a/z --policy required
  same /mnt/b/y /mnt/a/z 24
  [ "$(stat -c %s /mnt/a/z)" = $((24 << 20)) ] || fail 'the file is not as long as its source'
}

case_files_end_where_they_end() {
  here
  fresh_file_systems
  head -c 3000001 /dev/urandom >/mnt/a/x
  random /mnt/b/y 8
  sync
  copy /mnt/a/x /mnt/b/y --policy required --verify
  cmp /mnt/a/x /mnt/b/y || fail 'the files differ, in bytes or in length'
  copy /mnt/b/y+4096 /mnt/a/x@1MiB --policy required
  [ "$(stat -c %s /mnt/a/x)" = 3000001 ] || fail 'a copy to a part has changed the length'
  printf x >/mnt/a/tiny
  copy /mnt/a/tiny /mnt/b/tiny --policy required
  cmp /mnt/a/tiny /mnt/b/tiny || fail 'a file of one byte differs'
}

case_a_full_file_system_says_so_before_anything_changes() {
  here
  fresh_file_systems
  fallocate -l 300M /mnt/a/x
  truncate -s 2G /mnt/b/hole
  refused 'No space left' /mnt/b/hole /mnt/a/copy
  [ ! -e /mnt/a/copy ] || fail 'an empty file was left behind'
}

case_a_file_system_past_which_there_is_no_way() {
  here
  fresh_file_systems
  random /mnt/a/x 8
  mkdir -p /tmp/there
  mount -t tmpfs none /tmp/there
  refused 'tmpfs has no block device' /mnt/a/x /tmp/there/y --policy required
  copy /mnt/a/x /tmp/there/y --policy preferred
  expect_text 'tmpfs has no block device' said
  cmp /mnt/a/x /tmp/there/y || fail 'the files differ'
  umount /tmp/there
  umount /mnt/a
  mount -t ext4 -o data=journal "$source" /mnt/a
  refused 'past the page cache' /mnt/a/x /mnt/b/y --policy required
  copy /mnt/a/x /mnt/b/y --policy preferred
  same /mnt/a/x /mnt/b/y 8
}

case_block_layers_that_do_not_pass_it_on_are_named() {
  here
  umount /mnt/a 2>/dev/null || true
  umount /mnt/b 2>/dev/null || true
  wipe "$source"
  wipe "$destination"
  echo "0 65536 linear $source 0" | dmsetup create dmtest || fail 'no dm device'
  dmsetup mknodes 2>/dev/null || true
  dm=/dev/$(basename "$(readlink -f /sys/block/dm-0)")
  refused "device-mapper device on $(basename "$source")" "$dm" "$destination" --policy required
  random "$source" 4
  copy "$dm+4MiB" "$destination" --policy preferred
  expect_text 'device-mapper' said
  same "$source" "$destination" 4
  refused 'is in use' "$destination+4MiB" "$source"
  expect_text 'held by dm-0' errors
  dmsetup remove dmtest
  truncate -s 8M /tmp/image
  losetup /dev/loop0 /tmp/image
  refused 'loop device' "$destination+4MiB" /dev/loop0 --policy required
  losetup -d /dev/loop0
  mdadm --build /dev/md0 --level=0 --raid-devices=2 "$source" "$third" >/dev/null 2>&1 || skip 'no md array could be built'
  refused 'RAID array' /dev/md0+4MiB "$destination" --policy required
  mdadm --stop /dev/md0 2>/dev/null
}

case_what_is_in_use_is_never_written_to() {
  here
  fresh_file_systems
  refused 'mounted at /mnt/b' "$third+4MiB" "$destination"
  umount /mnt/b
  partition "$destination"
  mkfs.ext4 -qF "${destination}p2"
  mount -t ext4 "${destination}p2" /mnt/b
  refused "$(basename "$destination")p2 is mounted at /mnt/b" "$third+4MiB" "$destination"
  copy "$third+4MiB" "${destination}p1"
  umount /mnt/b
  mkswap "${destination}p2" >/dev/null
  swapon "${destination}p2"
  refused 'swap' "$third+4MiB" "${destination}p2"
  refused 'swap' "$third+4MiB" "$destination"
  swapoff "${destination}p2"
  unpartition "$destination"
}

case_memory_that_others_have_taken() {
  here
  no_file_systems
  p2p_sketch hold "$(allocate source)" $((15 << 20)) &
  holder=$!
  trap 'kill $holder' EXIT
  wait_until 10 sh -c "[ \$(cat $(dirname "$(allocate source)")/available) -lt $((2 << 20)) ]" || fail 'nobody took the memory'
  copy "$source+16MiB" "$destination" --policy required --via "$(controller source)" --chunk 256KiB
  same "$source" "$destination" 16
  refused 'bytes are free' "$source+16MiB" "$destination" --policy required --via "$(controller source)" --chunk 2MiB
  copy "$source+16MiB" "$destination" --policy preferred --via "$(controller source)" --chunk 2MiB
  expect_text 'bytes are free' said
  trap - EXIT
  kill $holder
  wait $holder || true
}

case_memory_smaller_than_a_chunk() {
  here
  no_file_systems
  refused 'the largest extent has 8388608' "$source+32MiB" "$destination" --policy required --via "$(controller third)" --chunk 16MiB
  copy "$source+32MiB" "$destination" --policy preferred --via "$(controller third)" --chunk 16MiB
  same "$source" "$destination" 32
}

case_without_root() {
  here
  mkdir -p /tmp/open && chmod 777 /tmp/open
  chmod 666 "$source" "$destination"
  su nobody -s /bin/sh -c "barter copy $source+8MiB $destination --machine host --policy required" >said 2>&1 &&
    fail 'nobody may map p2pmem, but it went direct'
  cat said
  expect_text 'Permission denied' said
  su nobody -s /bin/sh -c "barter copy $source+8MiB $destination --machine host" >said 2>&1 || fail "$(cat said)"
  expect_text 'Permission denied' said
  same "$source" "$destination" 8
  su nobody -s /bin/sh -c "head -c 100000 /dev/urandom >/tmp/open/x && barter copy /tmp/open/x /tmp/open/y --machine host && cmp /tmp/open/x /tmp/open/y" ||
    fail 'a file of their own could not be copied'
  chmod 660 "$destination"
  su nobody -s /bin/sh -c "barter copy $source+8MiB $destination --machine host" >said 2>&1 && fail 'they wrote to a drive'
  expect_text 'Permission denied' said
  [ "$(su nobody -s /bin/sh -c 'barter topo --machine host --json' | grep -c '"bdf"')" -gt 0 ] || fail 'no topology'
}

# The contracts, on what Linux gives.
contract() {
  here
  SOURCE=$source DESTINATION=$destination PROVIDER=$(function_of source) CLIENT=$(function_of destination) \
    kernel_drives_guest_test --gtest_filter="$1" >said 2>&1 || { cat said; fail 'see above'; }
  cat said
}
case_contract_of_exporters() { contract 'P2pmem*'; }
case_contract_of_dma_domains() { contract '*DmaDomain*'; }
case_contract_of_importers() { contract 'KernelImporter*'; }
case_memory_of_peers_is_no_registered_buffer() { contract 'FileQueue*'; }
case_memory_taken_back_in_mid_copy() { contract 'Machine*'; }
case_any_pointer() { contract 'AnyPointer*'; }

# The last: it takes the drive away.
case_a_drive_that_is_pulled_in_mid_copy() {
  here
  no_file_systems
  barter copy "$source" "$destination" --machine host --policy required --chunk 256KiB >said 2>errors &
  copying=$!
  wait_until 20 sh -c "[ \$(cat $(dirname "$(allocate source)")/available) -lt $((16 << 20)) ]" || fail 'it did not begin'
  monitor device_del destination
  wait $copying && status=0 || status=$?
  cat said errors
  [ "$status" = 2 ] || fail "it ended with $status"
  expect_text 'is gone from the machine' errors
  expect_text 'bytes had been copied' errors
  wait_until 10 sh -c "[ \$(cat $(dirname "$(allocate source)")/available) = $((16 << 20)) ]" || fail 'memory was not given back'
  refused 'no such drive' "$source+1MiB" "$(basename "$destination")"
  refused 'no such device' "$source+1MiB" "$destination"
}
