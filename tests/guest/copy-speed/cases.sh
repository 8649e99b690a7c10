# barter copy against fio doing the same work, and against the simplest program that does it; in turns, in one guest. QEMU's
# absolute figures mean nothing, so only ratios count. Nearly all of the time QEMU reads the memory of the one drive for the other,
# 4 KiB at a time, so what is left to a program is to keep it at that.
#
# All move chunks of 1 MiB. fio's work: one job reads the source into p2pmem, the other writes the destination from p2pmem, both at once, each with as many
# chunks in flight as barter has for both. fio need not wait for a chunk to be read before it writes one, so it is
# a limit more than a peer. It is told not to touch its buffers: filling p2pmem by the processor would be work that barter
# does not do.

rounds=41
mib=64
chunk_kib=1024

copy_s() {
  barter copy "$(block source)+${mib}MiB" "$(block destination)" --machine host --policy required --queue-depth "$1" \
    --chunk ${chunk_kib}KiB --json >said 2>errors || fail "$(cat errors)"
  sed -n 's/^ *"seconds": \([0-9.e+-]*\),$/\1/p' said
}

# The longer of the two jobs, as fio itself has measured it, in seconds.
fio_s() {
  fio --output-format=terse --terse-version=3 --ioengine=io_uring --direct=1 --bs=${chunk_kib}k --size=${mib}M \
    --iodepth="$1" --zero_buffers=1 --scramble_buffers=0 --gtod_reduce=1 --iomem=mmapshared:"$(allocate source)" --thread=0 \
    --name=in --filename="$(block source)" --rw=read \
    --name=out --filename="$(block destination)" --rw=write >said 2>errors || fail "$(cat errors)"
  awk -F';' '/^3;/ {t = $9 > $50 ? $9 : $50; if (t > most) most = t} END {print most / 1000}' said
}

# The computer is disturbed by others, now more and now less, so what ran side by side is compared: a ratio for each round, and of
# those the median. Each round begins with another one of the four.
quartiles() { # FILE of one number a line
  sort -n "$1" | awk '{r[NR] = $1} END {printf "%.3f %.3f %.3f", r[int((NR + 3) / 4)], r[int((NR + 1) / 2)], r[int((3 * NR + 1) / 4)]}'
}
ratios() { paste -d' ' "/tmp/$1" /tmp/barter | awk '{print $1 / $2}' >"/tmp/ratio-$1"; }
median() { quartiles "/tmp/ratio-$1" | cut -d' ' -f2; }
at_least() { awk -v r="$1" -v least="$2" 'BEGIN {exit !(r >= least)}'; }

run_one() {
  case $1 in
    barter) copy_s 8 ;;
    fio8) fio_s 8 ;;
    fio4) fio_s 4 ;;
    sketch) p2p_sketch copy "$(allocate source)" "$(block source)" "$(block destination)" $mib ;;
  esac >>"/tmp/$1"
}

case_as_fast_as_fio_and_faster_than_a_sketch() {
  dd if=/dev/urandom of="$(block source)" bs=1M count=$mib conv=fsync 2>/dev/null
  copy_s 8 >/dev/null
  order="barter fio8 fio4 sketch"
  for round in $(seq "$rounds"); do
    for one in $order; do run_one "$one"; done
    order="${order#* } ${order%% *}"
  done
  for one in barter fio8 fio4 sketch; do
    echo "$one: quartiles $(quartiles "/tmp/$one") s, of $rounds"
  done >/tmp/summary
  for peer in "fio8 fio with 8 reads and 8 writes" "fio4 fio with 4 reads and 4 writes" "sketch the sketch"; do
    ratios "${peer%% *}"
    echo "throughput over ${peer#* }, round by round: quartiles $(quartiles "/tmp/ratio-${peer%% *}")"
  done >>/tmp/summary
  cat /tmp/summary
  send /tmp/summary speed
  at_least "$(median fio4)" 0.95 || fail "$(median fio4) of the throughput of fio with as many in flight"
  at_least "$(median sketch)" 1.001 || fail "$(median sketch) of the throughput of the sketch, which is not faster"
}
