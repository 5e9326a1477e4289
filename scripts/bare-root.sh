# A minimal Debian 12 to try things in; sourced by scripts/try-bare and scripts/try-deb, which set $root and $name. Nothing
# of this machine is visible inside but the copied configuration of names, apt and pip (and certificates), which make its
# packages reachable. Needs root and debootstrap.

need_root() {
  ((EUID == 0)) || { echo "$name: debootstrap and chroot need root" >&2; exit 1; }
  command -v debootstrap >/dev/null || { echo "$name: install debootstrap first" >&2; exit 1; }
}

copy_into_root() {
  local path
  for path in "$@"; do
    [[ -e "$path" ]] || continue
    mkdir -p "$root$(dirname "$path")"
    cp -rLT "$path" "$root$path"
  done
}

# Processes and terminals of its own, which a program on a pseudo-terminal needs.
mount_all() {
  mkdir -p "$root/proc" "$root/dev/pts"
  mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
  mountpoint -q "$root/dev/pts" || mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  ln -sf pts/ptmx "$root/dev/ptmx"
}
unmount_all() {
  local path
  for path in "$root/proc" "$root/dev/pts"; do ! mountpoint -q "$path" || umount "$path"; done
}

# make_root KEEP: a fresh root, or with KEEP the one that is there; mounted until this shell ends.
make_root() {
  if [[ -z "$1" || ! -e "$root/etc/debian_version" ]]; then
    unmount_all
    rm -rf --one-file-system "$root"
    mkdir -p "$(dirname "$root")"
    debootstrap --variant=minbase bookworm "$root" >"$root.log" 2>&1 || { tail -n 20 "$root.log" >&2; exit 1; }
  fi
  copy_into_root /etc/resolv.conf /etc/hosts /etc/apt/sources.list.d/debian.sources /etc/pip.conf
  # Under a name of its own: the package ca-certificates writes its own bundle over the usual one.
  cp -L "${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}" "$root/etc/host-certificates.crt"
  [[ ! -e "$root/etc/apt/sources.list.d/debian.sources" ]] || : >"$root/etc/apt/sources.list"
  apt-config dump Acquire | grep '"[^"]\+"' >"$root/etc/apt/apt.conf.d/99host" || true
  trap unmount_all EXIT
  mount_all
}

# run_inside FOLDER COMMAND…: runs a command in the root with a clean environment.
run_inside() {
  local folder=$1 settings
  shift
  mapfile -t settings < <(env | grep -E '^(PIP_|S3D_|CI=|https?_proxy=|no_proxy=)' || true)
  chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    ${settings[@]+"${settings[@]}"} PIP_CERT=/etc/host-certificates.crt \
    bash -c 'cd "$1" && shift && exec "$@"' bare "$folder" "$@" </dev/null
}
