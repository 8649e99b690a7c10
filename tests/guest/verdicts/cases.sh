# Asks the kernel about every pair of drives, and brings out what it and barter say, and what lspci sees.
case_ask_the_kernel() {
  ask_kernel >answers
  barter why --all --json --machine host >host.json
  su nobody -s /bin/sh -c 'barter why --all --json --machine host' >nobody.json
  lspci -D -xxxx >lspci.hex
  lspci -Dnnvvv >lspci.text
  cat /proc/cmdline
  for file in answers host.json nobody.json lspci.hex lspci.text; do send $file; done
}
