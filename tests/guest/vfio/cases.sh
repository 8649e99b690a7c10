# Drives that user space drives. The cases share the guest: the first ones give nvme0 and nvme1 to VFIO.

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

case_drives_are_given_to_vfio() {
  for name in nvme0 nvme1 nvme2 nvme3; do function_of $name >/tmp/bdf.$name; done
  head -c 1048576 /dev/urandom >/tmp/pattern
  dd if=/tmp/pattern of="$(block nvme0)" bs=1M count=1 conv=fsync 2>/dev/null
  echo 'p:barter_fault dmar_fault' >>/sys/kernel/tracing/kprobe_events
  echo 1 >/sys/kernel/tracing/events/kprobes/barter_fault/enable
  for name in nvme0 nvme1; do
    bdf=$(bdf_of $name)
    echo vfio-pci >"/sys/bus/pci/devices/$bdf/driver_override"
    echo "$bdf" >"/sys/bus/pci/devices/$bdf/driver/unbind"
    echo "$bdf" >/sys/bus/pci/drivers_probe
  done
}

case_function_contract() { suite 'Vfio/FunctionContract*'; }
case_dma_domain_contract() { suite 'Vfio/DmaDomainContract*'; }
case_nvme_driver() { suite 'NvmeDriverOnVfio.*'; }
case_dma_buf() { suite 'DmaBufOfVfio.*'; }
case_what_the_kernel_revokes_is_taken_back_first() { suite 'RevokedByVfio.*'; }
