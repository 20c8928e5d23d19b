# shellcheck shell=bash
# Sourced by cross/build and tests/run: Debian packages, installed by root, asked for by everybody else.

die() {
    echo "${0##*/}: $1" >&2
    exit "${2:-1}"
}

# missing_packages NAME...: those of the named packages that are not installed, one a line. Another distribution's
# packages go by other names: there the programs are taken for present until one is missed.
missing_packages() {
    command -v dpkg-query >/dev/null || return 0
    local name
    for name in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || echo "$name"
    done
}

# need_packages NAME...: returns once all of them are installed; otherwise says which are not and ends the script.
need_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0
    ((EUID == 0)) || die "missing Debian packages; as root: apt-get install ${missing[*]}"
    echo "installing ${missing[*]}"
    install_packages "${missing[@]}" || { apt-get -q update >&2 && install_packages "${missing[@]}"; } ||
        die "cannot install ${missing[*]}"
}

# Is Debian's current Rust installed, or can we install it? Older ones lack options that the builds need (-Cpanic=immediate-abort).
has_debian_rust() {
    command -v dpkg-query >/dev/null || return 1
    local version
    version=$(dpkg-query -W -f '${Version}' rustc-web 2>/dev/null) || version=$(installable_version rustc-web)
    dpkg --compare-versions "$version" ge 1.96
}

# installable_version NAME: what apt would install, nothing for those who may not.
installable_version() {
    ((EUID == 0)) || return 0
    apt-cache policy "$1" | grep -q 'Candidate: [0-9]' || apt-get -q update >&2 || true
    apt-cache policy "$1" | sed -n 's/^ *Candidate: \([0-9].*\)/\1/p'
}

install_packages() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 install "$@" >/dev/null
}

# unpack_package NAME[:ARCH] DIRECTORY: the package's files below DIRECTORY, nothing installed, nothing configured.
# A foreign architecture is looked up in package lists of its own: the machine's list of architectures stays as it is.
# Done once; a run that was broken off leaves nothing that counts as done.
unpack_package() {
    local name=$1 directory=$2 apt=$2/.apt lists=()
    [[ -e $directory/.unpacked ]] && return 0
    rm -rf "$directory"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    if [[ $name == *:* ]]; then
        lists=(-o "APT::Architecture=${name#*:}" -o "APT::Architectures::=${name#*:}"
            -o "Dir::State=$apt" -o Dir::State::status=/dev/null -o "Dir::Cache=$apt/cache"
            -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
        # One mirror out of step is no reason to stop: the download below is what must succeed.
        apt-get -q "${lists[@]}" update &>"$apt/log" || true
    fi
    if ! (cd "$apt" && apt-get -q -o APT::Sandbox::User=root "${lists[@]}" download "$name") &>>"$apt/log"; then
        cat "$apt/log" >&2
        die "cannot fetch the Debian package $name"
    fi
    dpkg -x "$apt"/*.deb "$directory"
    rm -rf "$apt"
    touch "$directory/.unpacked"
}
