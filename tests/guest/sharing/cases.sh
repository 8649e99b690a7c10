# Memory that the kernel lends (p2pmem), shared between processes: the broker has it mapped, and does the I/O for its clients.

# those FILTER: tests of sharing_test.cc, each in processes of its own.
those() {
  PROVIDER=$(function_of provider) CLIENT=$(basename "$(block client)") \
    sharing_guest_test --gtest_filter="$1" >said 2>&1 || { cat said; fail 'see above'; }
  cat said
}
case_bytes_go_straight_between_one_process_s_memory_and_another_s_drive() { those '*GoStraight*'; }
case_the_kernel_mapped_it_for_peers() {
  probe verdict pci_p2pdma_map_type || skip 'this kernel lets nothing be traced'
  those '*GoStraight*'
  traced verdict | grep -v 'ret=3$' && fail 'not every request was mapped by bus address'
  traced verdict | grep -q 'ret=3$' || fail 'no request was mapped for a peer'
}
case_the_owners_terms() { those '*Terms*'; }
case_an_owner_that_takes_back_under_a_read() { those '*TakesBack*'; }
case_owners_users_and_brokers_that_crash() { those '*Crashes*'; }
