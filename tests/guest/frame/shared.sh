# What the programs of the frame share. Sourced, with the repository as the current directory.
. tools/lib.sh

guest_folder=build/guest             # kernels and what was found out about this machine; for all presets
guest_kernels=$guest_folder/kernels  # a folder for each suite

# kernel_of SUITE: what QEMU starts.
kernel_of() {
  if [ -f "$guest_kernels/$1/vmlinux" ]; then echo "$guest_kernels/$1/vmlinux"; else echo "$guest_kernels/$1/vmlinuz"; fi
}

# copy_program ROOT FILE [NAME]: a program without its debug information, and the libraries that it needs and ROOT lacks.
copy_program() {
  local root=$1 file=$2 name=${3:-} library
  [ -n "$name" ] || name=$(basename "$file")
  mkdir -p "$root/bin"
  strip -o "$root/bin/$name" "$file" 2>/dev/null || cp "$file" "$root/bin/$name"
  { ldd "$file" 2>/dev/null || true; } | sed -nE 's#.*[ \t](/[^ ]+) \(0x.*#\1#p' | while IFS= read -r library; do
    [ ! -e "$root$library" ] || continue
    [ -z "${copy_program_base:-}" ] || [ ! -e "$copy_program_base$library" ] || continue
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
}

# pack ROOT FILE: the folder as an initramfs. It is not compressed: an emulated processor would take longer to unpack it.
pack() {
  (cd "$1" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >"$2"
}
