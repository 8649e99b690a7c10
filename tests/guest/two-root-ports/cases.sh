# No way between two drives: the error quotes the verdict, and so does the fallback. And if Barter had the verdict wrong, the
# kernel's own refusal would end the direct way, not the copy.

case_required_quotes_the_verdict() {
  barter copy "$(block source)" "$(block destination)" --machine host --policy required >said 2>&1 && fail 'it was copied'
  cat said
  expect_text "$(basename "$(block destination)") does not read from the memory of $(basename "$(block source)")" said
  expect_text 'host bridge' said
}

case_preferred_goes_by_way_of_host_memory() {
  dd if=/dev/urandom of="$(block source)" bs=1M count=64 conv=fsync 2>/dev/null
  barter copy "$(block source)" "$(block destination)" --machine host >said
  cat said
  expect_text 'host, by way of host memory' said
  expect_text 'host bridge' said
  expect_text "$((2 * (64 << 20))) bytes of data" said
  cmp "$(block source)" "$(block destination)" || fail 'the drives differ'
}

case_the_kernels_own_refusal_is_explained() {
  SOURCE=$(block source) DESTINATION=$(block destination) PROVIDER=$(function_of source) CLIENT=$(function_of destination) \
    kernel_drives_guest_test --gtest_filter='WrongVerdict*' >said 2>&1 || { cat said; fail 'see above'; }
  cat said
}
