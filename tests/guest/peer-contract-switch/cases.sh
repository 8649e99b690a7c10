# The peer contract (docs/peer-contract.md), by the suite of tests/contract: on drives that Linux drives and memory that it lends, and
# by a switch. What a pair cannot run is skipped by name, with the reason.

# suite FILTER: those tests. If there is nothing but skipped ones, so is the case.
suite() {
  peer_contract_guest_test --gtest_color=no --gtest_filter="$1" >said 2>&1 || { cat said; fail 'see above'; }
  cat said
  grep -q '^\[       OK \]' said || skip "$(sed -n 's/^skipped: //p' said | head -n 1)"
}
bdf_of() { cat "/tmp/bdf.$1"; }
kernel_drives() {
  BARTER_PROVIDER=$(bdf_of memory) BARTER_ROUTE=bus_address \
    BARTER_CLIENTS="$(bdf_of one) $(block one) $(bdf_of other) $(block other)" suite "OnLinux/*.$1"
}

case_drives_have_addresses() {
  for name in memory one other; do function_of $name >/tmp/bdf.$name; done
}

case_kernel_drives_seams() { kernel_drives '*keeps_its_contract*'; }
case_kernel_drives_point_1() { kernel_drives 'Point1_*'; }
case_kernel_drives_point_2() { kernel_drives 'Point2_*'; }
case_kernel_drives_point_3() { kernel_drives 'Point3_*'; }
case_kernel_drives_point_4() { kernel_drives 'Point4_*'; }
case_kernel_drives_point_5() { kernel_drives 'Point5_*'; }
case_kernel_drives_point_6() { kernel_drives 'Point6_*'; }
case_kernel_drives_point_7() { kernel_drives 'Point7_*'; }
case_kernel_drives_point_8() { kernel_drives 'Point8_*'; }
case_kernel_drives_point_9() { kernel_drives 'Point9_*'; }
case_kernel_drives_point_10() { kernel_drives 'Point10_*'; }
case_kernel_drives_are_waited_for() {
  BARTER_PROVIDER=$(bdf_of memory) BARTER_ROUTE=bus_address \
    BARTER_CLIENTS="$(bdf_of one) $(block one) $(bdf_of other) $(block other)" suite 'PeerOnLinux.*'
}
# Nothing went by way of host memory: the kernel has mapped every request for peers, and said how.
case_kernel_drives_go_by_the_route_that_is_expected() {
  probe verdict pci_p2pdma_map_type || skip 'this kernel lets nothing be traced'
  kernel_drives 'Point2_mapping_says_its_route_and_reaches_its_memory/kernel_drives_to_p2pmem'
  traced verdict | grep -q 'ret=3$' || { traced verdict; fail 'no request was mapped for a peer by that route'; }
  traced verdict | grep -v 'ret=3$' && fail 'a request was mapped in another way'
  true
}
