# Drives that user space drives. The cases share the guest: nvme0 and nvme1 are given to VFIO, and come back at the end.

# bdf_of NAME: the drive's address, whoever drives it; Linux names it only while its own driver does.
bdf_of() { cat "/tmp/bdf.$1"; }

# suite FILTER: those tests of the program that runs the contract suites and more, on nvme0 and nvme1.
suite() {
  BARTER_VFIO_FUNCTIONS="$(bdf_of nvme0) $(bdf_of nvme1)"
  BARTER_FAULTS=/sys/kernel/tracing/kprobe_profile
  BARTER_VGEM=$(ls -d /dev/dri/card* 2>/dev/null | head -n 1)
  [ -n "$BARTER_VGEM" ] || unset BARTER_VGEM
  export BARTER_VFIO_FUNCTIONS BARTER_FAULTS BARTER_VGEM
  vfio_guest_test --gtest_color=no --gtest_brief=0 --gtest_filter="$1"
}

driver_of() { basename "$(readlink "/sys/bus/pci/devices/$(bdf_of "$1")/driver")"; }

# refused WORDS BIND_ARGUMENTS...: barter bind says no, with these words, and the drive stays where it was.
refused() {
  words=$1
  shift
  if barter bind "$@" >said 2>&1; then cat said; fail 'it was not refused'; fi
  cat said
  expect_text "$words" said
}

case_drives_have_addresses() {
  for name in nvme0 nvme1 nvme2 nvme3; do function_of $name >/tmp/bdf.$name; done
  head -c 8388608 /dev/urandom >/tmp/pattern
  echo 'p:barter_fault dmar_fault' >>/sys/kernel/tracing/kprobe_events
  echo 1 >/sys/kernel/tracing/events/kprobes/barter_fault/enable
}

case_a_drive_in_use_is_not_bound() {
  mke2fs "$(block nvme0)" >/dev/null
  mount -t ext4 "$(block nvme0)" /mnt
  refused 'is mounted' "$(bdf_of nvme0)" vfio-pci
  umount /mnt
  mkswap "$(block nvme1)" >/dev/null
  swapon "$(block nvme1)"
  refused 'swap' "$(bdf_of nvme1)" vfio-pci
  swapoff "$(block nvme1)"
  [ "$(driver_of nvme0) $(driver_of nvme1)" = 'nvme nvme' ] || fail 'a drive was taken'
}

case_a_group_is_bound_as_a_whole() {
  refused "$(bdf_of nvme3) (nvme)" "$(bdf_of nvme2)" vfio-pci
  barter bind "$(bdf_of nvme2)" vfio-pci --with-group
  [ "$(driver_of nvme2) $(driver_of nvme3)" = 'vfio-pci vfio-pci' ] || fail 'not both were bound'
  barter bind "$(bdf_of nvme2)" nvme
  [ "$(driver_of nvme2) $(driver_of nvme3)" = 'nvme vfio-pci' ] || fail 'nvme2 was not given back'
  barter bind "$(bdf_of nvme3)" nvme
}

case_nonsense_is_not_bound() {
  refused 'no such function' 0000:77:00.0 vfio-pci
  refused 'modprobe not-a-driver' "$(bdf_of nvme0)" not-a-driver
  refused 'it is a bridge' 0000:00:02.0 vfio-pci
  su nobody -s /bin/sh -c "barter bind $(bdf_of nvme0) vfio-pci" >said 2>&1 && fail 'anybody may bind'
  cat said
  expect_text 'run it as root' said
}

case_drives_are_given_to_vfio() {
  dd if=/tmp/pattern of="$(block nvme0)" bs=1M conv=fsync 2>/dev/null
  barter bind "$(bdf_of nvme0)" vfio-pci --dry-run
  [ "$(driver_of nvme0)" = nvme ] || fail 'a dry run is not dry'
  for name in nvme0 nvme1; do
    barter bind "$(bdf_of $name)" vfio-pci
    [ "$(driver_of $name)" = vfio-pci ] || fail "$name is not bound to vfio-pci"
  done
  barter bind "$(bdf_of nvme0)" vfio-pci >said
  expect_text 'already' said
}

# Before anything else writes on them: what Linux wrote on nvme0 is copied to nvme1, and, when they come back, Linux reads it there.
case_copy_through_the_memory_buffer() {
  barter copy "$(bdf_of nvme0)+8MiB" "$(bdf_of nvme1)" --machine host --policy required --verify --json >said
  cat said
  expect_text '"route": "peer"' said
  expect_text '"verified": true' said
  barter copy "$(bdf_of nvme0)+8MiB" "$(bdf_of nvme1)@8MiB" --machine host --policy required --via "$(bdf_of nvme1)" --verify
}

# One drive is the kernel's: neither can use the other's memory, and host memory serves both.
case_copy_to_a_drive_of_the_kernels() {
  disk=$(basename "$(block nvme2)")
  if barter copy "$(bdf_of nvme0)+8MiB" "$disk" --machine host --policy required >said 2>&1; then cat said; fail 'it went direct'; fi
  cat said
  barter copy "$(bdf_of nvme0)+8MiB" "$disk" --machine host --policy preferred --verify >said
  cat said
  expect_text 'by way of host memory' said
  cmp -n 8388608 "/dev/$disk" /tmp/pattern
  barter copy "$disk+8MiB" "$(bdf_of nvme1)@32MiB" --machine host --policy preferred --verify
}

case_a_drive_in_a_group_with_others_is_not_opened() {
  barter bind "$(bdf_of nvme2)" vfio-pci --with-group >/dev/null
  barter bind "$(bdf_of nvme3)" nvme >/dev/null
  if barter copy "$(bdf_of nvme2)+1MiB" "$(bdf_of nvme1)" --machine host >said 2>&1; then cat said; fail 'it was opened'; fi
  cat said
  expect_text "$(bdf_of nvme3) (nvme)" said
  barter bind "$(bdf_of nvme2)" nvme >/dev/null
}

case_a_drive_without_a_driver_says_how_to_get_one() {
  echo "$(bdf_of nvme3)" >/sys/bus/pci/drivers/nvme/unbind
  if barter copy "$(bdf_of nvme3)+1MiB" "$(bdf_of nvme1)" --machine host >said 2>&1; then fail 'it was opened'; fi
  cat said
  expect_text "barter bind $(bdf_of nvme3) vfio-pci" said
  barter bind "$(bdf_of nvme3)" nvme >/dev/null
}

case_nobody_else_opens_it() {
  su nobody -s /bin/sh -c "barter copy $(bdf_of nvme0) $(bdf_of nvme1) --machine host" >said 2>&1 && fail 'anybody may drive it'
  cat said
}

case_function_contract() { suite 'Vfio/FunctionContract*'; }
case_dma_domain_contract() { suite 'Vfio/DmaDomainContract*'; }
case_nvme_driver() { suite 'NvmeDriverOnVfio.*'; }
case_dma_buf() { suite 'DmaBufOfVfio.*'; }
case_memory_taken_back_in_mid_copy() { suite 'CopyOnVfio.*'; }
case_what_the_kernel_revokes_is_taken_back_first() { suite 'RevokedByVfio.*'; }

case_drives_come_back_to_linux() {
  for name in nvme0 nvme1; do
    barter bind "$(bdf_of $name)" nvme
    [ "$(driver_of $name)" = nvme ] || fail "$name is not bound to nvme"
  done
  wait_for_drives
  # The tests in between write on the first blocks of nvme0 and within its first 8 MiB, and on the start of nvme1.
  dd if="$(block nvme1)" bs=1M skip=32 count=8 of=/tmp/found 2>/dev/null
  cmp /tmp/found /tmp/pattern
}
