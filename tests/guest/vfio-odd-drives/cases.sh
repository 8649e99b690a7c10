# QEMU's drives in many shapes, for our NVMe driver. (A drive without any namespace is missing: the BIOS does not get past it.)

case_the_driver_takes_or_names_them() {
  functions=$(grep -l '^0x0108' /sys/bus/pci/devices/*/class | cut -d / -f 6)
  for bdf in $functions; do barter bind "$bdf" vfio-pci >/dev/null; done
  BARTER_VFIO_FUNCTIONS=$functions vfio_guest_test --gtest_color=no --gtest_filter='OddDrives.*'
}
