# barter copy against fio doing the same work, and against the simplest program that does it; in turns, in one guest. QEMU's
# absolute figures mean nothing, so only ratios count.
#
# All move chunks of 1 MiB. fio's work: one job reads the source into p2pmem, the other writes the destination from p2pmem, both at once, each with as many
# chunks in flight as barter has for both. fio need not wait for a chunk to be read before it writes one, so it is
# a limit more than a peer. It is told not to touch its buffers: filling p2pmem by the processor would be work that barter
# does not do.

rounds=9
mib=128
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

# What disturbs a run makes it longer and never shorter, so the shortest of each is compared; the spread is told beside it.
least() { sort -n "/tmp/$1" | head -n 1; }
ratio() { awk -v a="$(least "$1")" -v b="$(least barter)" 'BEGIN {printf "%.3f", a / b}'; }
spread() { sort -n "/tmp/$1" | awk '{r[NR] = $1} END {printf "%.3f s, median %.3f, at most %.3f", r[1], r[int((NR + 1) / 2)], r[NR]}'; }
at_least() { awk -v r="$1" -v least="$2" 'BEGIN {exit !(r >= least)}'; }

case_as_fast_as_fio_and_faster_than_a_sketch() {
  dd if=/dev/urandom of="$(block source)" bs=1M count=$mib conv=fsync 2>/dev/null
  copy_s 8 >/dev/null
  for round in $(seq "$rounds"); do
    copy_s 8 >>/tmp/barter
    fio_s 8 >>/tmp/fio8
    fio_s 4 >>/tmp/fio4
    p2p_sketch copy "$(allocate source)" "$(block source)" "$(block destination)" $mib >>/tmp/sketch
  done
  {
    for one in barter fio8 fio4 sketch; do echo "$one: $(spread $one), of $rounds"; done
    echo "throughput over fio with 8 reads and 8 writes in flight: $(ratio fio8)"
    echo "throughput over fio with 4 reads and 4 writes in flight: $(ratio fio4)"
    echo "throughput over the sketch: $(ratio sketch)"
  } | tee /tmp/summary
  send /tmp/summary speed
  at_least "$(ratio fio4)" 0.95 || fail "$(ratio fio4) of the throughput of fio with as many in flight"
  at_least "$(ratio sketch)" 1 || fail "$(ratio sketch) of the throughput of the sketch"
}
