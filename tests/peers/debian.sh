# Name servers as Debian ships them, secondaries of the tests and peers of `make bench`; and NSD once more from Debian's
# sources. Part of tests/peers/install.
#
# Their packages are unpacked into the cache and not installed: no daemon starts on port 53, now or at the next boot.
# What they link against is installed.

# The peer's package, and where its program is therein.
declare -A debian_package=([nsd]=nsd [knot]=knot)
declare -A debian_program=([nsd]=usr/sbin/nsd [knot]=usr/sbin/knotd [nsd-recvmmsg]=sbin/nsd)

# What building NSD takes.
debian_build_needs=(bison build-essential dpkg-dev flex libevent-dev libssl-dev pkg-config)

debian_path_of() {
  local release
  release=$(. /etc/os-release && printf '%s-%s' "$ID" "${VERSION_ID:-0}")
  printf '%s\n' "$cache/peers/$release/$1/${debian_program[$1]}"
}

# Installs those of the packages that are missing.
debian_require() {
  local package missing=()
  for package; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  [[ ${#missing[@]} -eq 0 ]] || apt_install "${missing[@]}"
}

# Builds a peer into an empty folder.
debian_build() {
  local name=$1 root=$2
  command -v apt-get >/dev/null || fail "no apt-get here, from which $name comes"
  if [[ $name == nsd-recvmmsg ]]; then
    debian_build_nsd "$root"
  else
    debian_unpack "${debian_package[$name]}" "$root"
  fi
  "$root/${debian_program[$name]}" "${debian_version_flag[$name]}" 2>&1 | sed -n 1p
}
declare -A debian_version_flag=([nsd]=-v [knot]=-V [nsd-recvmmsg]=-v)

debian_unpack() {
  local package=$1 root=$2 depends
  mkdir "$root/.package"
  (cd "$root/.package" && apt-get -qq -o APT::Sandbox::User=root download "$package")
  depends=$(dpkg-deb -f "$root"/.package/*.deb Pre-Depends Depends | sed 's/^[^:]*://; s/([^)]*)//g; s/|[^,]*//g' | tr ', ' '\n\n')
  # The libraries: what else it depends on helps a daemon of the system.
  # shellcheck disable=SC2046 # One word a package.
  debian_require $(grep '^lib' <<<"$depends" | sed 's/:any$//')
  dpkg-deb -x "$root"/.package/*.deb "$root"
  rm -r "$root/.package"
}

# As Debian builds it (debian/rules), but with recvmmsg, and without what would take more libraries and answers nothing.
debian_build_nsd() {
  local root=$1 work=$1/.work
  debian_require "${debian_build_needs[@]}"
  debian_fetch_source nsd "$work"
  (
    cd "$work"/nsd-*/
    export DEB_BUILD_MAINT_OPTIONS=hardening=+all DEB_CPPFLAGS_MAINT_APPEND='-D_XOPEN_SOURCE=600 -DNDEBUG'
    eval "$(dpkg-buildflags --export=sh)"
    ./configure --prefix=/ --enable-recvmmsg --disable-dnstap --disable-systemd \
      --disable-largefile --enable-root-server --enable-mmap --enable-ratelimit --enable-zone-stats --enable-checking
    make -j"$(nproc)"
    make install DESTDIR="$root"
  ) >"$root/.log" 2>&1 || { tail -n 20 "$root/.log" >&2; fail "NSD was not built"; }
  rm -r "$work" "$root/.log"
}

# Fetches a source package from where this machine's Debian packages come, and leaves the system's lists as they are.
debian_fetch_source() {
  local package=$1 work=$2
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  local signed=/usr/share/keyrings/debian-archive-keyring.gpg
  # shellcheck disable=SC2016 # The names are apt's.
  apt-get indextargets --format "deb-src [signed-by=$signed] "'$(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' | sort -u >"$work/sources.list"
  local apt=(apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::SourceList="$work/sources.list"
    -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache")
  "${apt[@]}" update
  (cd "$work" && "${apt[@]}" source "$package")
}
