#!/bin/sh
# omsd @VERSION@ for @ARCH@: a program and two scripts, with what installs them. `sh FILE --help` says how; `--extract` unpacks.
# Needs a POSIX shell, cat, chmod, grep, id, mkdir, mv, rm, tail, uname and wc; sha256sum, cmp and readlink are used where they are.
# shellcheck disable=SC2317 # some functions are called by others' arguments
set -u

VERSION=@VERSION@
ARCH=@ARCH@
# The program follows behind the last line of this script.
SKIP=@SKIP@
BYTES=@BYTES@
SHA256=@SHA256@

usage() {
    cat <<END
usage: sh $0 --install | --upgrade | --remove | --purge | --extract [DIRECTORY] | --version | --version-check [OPTIONS]

  --install           first install
  --upgrade           install, or upgrade what is there
  --force             with --upgrade: also to an older version
  --remove            uninstall; configuration and identity stay
  --purge             uninstall, and remove configuration, identity and what was not sent
  --extract [DIR]     unpack into DIR (./omsd-VERSION), install nothing
  --version           what this bundle has
  --version-check     what is installed, what this bundle has, what it would do
  --import            after the install, take over what Microsoft's agent knows on this host (omsd import)
  --no-start          register, but leave the service as it is
  --debug             trace what is done; no key is shown

After the install, register with a workspace:
  -w, --id ID               workspace
  -s, --shared KEY          its key; other users may see it in the list of processes: rather use --key-file
      --key-file FILE       file with the key; - is standard input
  -d, --domain DOMAIN       the cloud's domain, opinsights.azure.com by default
  -p, --proxy PROXY         [http://|https://][user:password@]host[:port]; other users may see it in the list of processes: rather put
                            it into the environment as OMSD_PROXY
  -a, --azure-resource ID   Azure resource id
  -m, --multi-homing-marker NAME
                            beside the primary workspace; the name is not kept

For omsd install: --prefix DIR, --user NAME, --mode MODE, --no-syslog, --root DIR.
Accepted without effect, for scripts: --restart-deps --noDigest --skip-docker-provider-install --enable-opsmgr.

Exit codes: 0 done; 2 bad option or combination; 3 nothing to do was named; 5 not root; 6 wrong architecture; 17 the program could not be
unpacked or installed, or is older than what is there; 23 installed already, use --upgrade; 52 Microsoft's agent runs; 63 tail is missing. What fails after the
install ends with omsd's own code: 64 a value is wrong, 69 the service refuses, 73 and 74 files, 75 no answer, 77 not permitted, 78 configuration.
END
}

fail() {
    echo "$1" >&2
    exit "$2"
}

bad() { fail "$0: $1; see sh $0 --help" 2; }

# quietly COMMAND...: not in the trace of --debug.
quietly() {
    { set +x; } 2>/dev/null
    "$@"
    quietly_result=$?
    [ "$debug" = no ] || set -x
    return "$quietly_result"
}

# unpack DIRECTORY: the program and the scripts there. What was damaged on its way is not run.
unpack() {
    command -v tail >/dev/null || fail 'tail is missing' 63
    tail -n "+$SKIP" "$self" >"$1/omsd" || fail "cannot write $1/omsd" 17
    if command -v sha256sum >/dev/null; then
        unpacked=$(sha256sum <"$1/omsd")
        [ "${unpacked%% *}" = "$SHA256" ] || fail "$self is damaged: the program in it has another SHA-256" 17
    else
        # shellcheck disable=SC2046 # two numbers
        [ $(wc -c <"$1/omsd") -eq "$BYTES" ] || fail "$self is damaged: the program in it has another size" 17
    fi
    write_omsadmin >"$1/omsadmin.sh" || fail "cannot write to $1" 17
    write_service_control >"$1/service_control" || fail "cannot write to $1" 17
    chmod 755 "$1/omsd" "$1/omsadmin.sh" "$1/service_control"
}

# stage: unpacks to where programs may run, and leaves that in $stage. /tmp is often mounted noexec.
stage() {
    for parent in "${TMPDIR:-/tmp}" "${root%/}/var/tmp" "${root%/}/opt" "${root%/}/"; do
        stage=$parent/.omsd-bundle.$$
        # mkdir fails where somebody else was before.
        (umask 077 && mkdir "$stage") 2>/dev/null || continue
        trap 'rm -rf "$stage"' EXIT
        trap 'exit 1' HUP INT TERM
        unpack "$stage"
        "$stage/omsd" version >/dev/null 2>&1 && return
        rm -rf "$stage"
    done
    fail "no directory to unpack to where programs may run" 17
}

# version_of PROGRAM: as in 1.2.3; nothing if it cannot be run.
version_of() {
    [ ! -x "$1" ] || "$1" version 2>/dev/null | {
        read -r _ version _ && echo "$version"
    }
}

# older A B: whether version A is older than B.
older() {
    left=$1. right=$2.
    while [ -n "$left$right" ]; do
        a=${left%%.*} b=${right%%.*}
        a=${a%%[!0-9]*} b=${b%%[!0-9]*}
        [ "${a:-0}" -lt "${b:-0}" ] && return 0
        [ "${a:-0}" -gt "${b:-0}" ] && return 1
        left=${left#*.} right=${right#*.}
    done
    return 1
}

# installed_prefix: that of the program which is installed, if one is.
installed_prefix() {
    [ ! -r "$manifest" ] || while read -r kind _ _ _ path; do
        case "$kind $path" in
            'file '*/bin/omsd) echo "${path%/bin/omsd}" && break ;;
        esac
    done <"$manifest"
}

need_root() {
    [ "$root" != / ] || [ "$(id -u)" -eq 0 ] || fail 'this needs root' 5
}

install() {
    need_root
    machine=$(uname -m)
    case $ARCH-$machine in
        x86_64-x86_64 | i[56]86-x86_64 | i[56]86-i[3-6]86) ;;
        *) fail "this bundle is for $ARCH; this machine is $machine" 6 ;;
    esac
    if [ "$ARCH" = i686 ] && grep -q '^flags' /proc/cpuinfo 2>/dev/null && ! grep -q '^flags.* sse2' /proc/cpuinfo; then
        fail "this bundle needs SSE2, which this processor has not: take omsd-$VERSION.universal.i586.sh" 6
    fi
    there=$(version_of "$program")
    if [ -n "$there" ]; then
        [ "$action" = upgrade ] || fail "omsd $there is installed: use --upgrade" 23
        if older "$VERSION" "$there" && [ "$force" = no ]; then
            fail "omsd $there is installed, which is newer than $VERSION: --force installs the older one, if it can read what the newer one wrote" 17
        fi
    fi
    [ -z "$import" ] || original_is_stopped
    stage
    if [ -n "$import" ]; then
        quietly "$stage/omsd" import --root "$root" --dry-run >/dev/null || exit $?
    fi
    if [ -n "$there" ] && cmp -s "$stage/omsd" "$program" 2>/dev/null; then
        echo "omsd $there is installed already"
    else
        set -- install --root "$root" --prefix "$prefix"
        [ -z "$user" ] || set -- "$@" --user "$user"
        [ -z "$mode" ] || set -- "$@" --mode "$mode"
        [ "$syslog" = yes ] || set -- "$@" --no-syslog
        "$stage/omsd" "$@" || fail 'omsd could not be installed; nothing was registered' 17
    fi
    install_scripts
    quietly register
}

# original_is_stopped: omsd cannot listen on a port that Microsoft's agent has.
original_is_stopped() {
    for file in "${root%/}"/var/opt/microsoft/omsagent/*/run/omsagent.pid; do
        # An old file may have the number of another process by now.
        if [ -s "$file" ] && grep -q omsagent "/proc/$(cat "$file")/cmdline" 2>/dev/null; then
            control=/opt/microsoft/omsagent/bin/service_control
            fail "Microsoft's agent runs: stop it first ($control stop, and $control disable so that it stays so)" 52
        fi
    done
}

# install_scripts: each with its line in the manifest first, by which `omsd uninstall` takes it away.
install_scripts() {
    for name in omsadmin.sh:@OMSADMIN_SHA256@ service_control:@SERVICE_CONTROL_SHA256@; do
        path=$prefix/bin/${name%%:*}
        line="file 0755 root:root ${name#*:} $path"
        grep -qxF "$line" "$manifest" 2>/dev/null || echo "$line" >>"$manifest" || fail "cannot write $manifest" 17
        mv "$stage/${name%%:*}" "${root%/}$path" || fail "cannot write $path" 17
    done
}

# register: with the workspace of the command line, or as Microsoft's agent is; then the service is started anew.
register() {
    if [ -n "$import" ]; then
        "$program" import --root "$root" || exit $?
    fi
    if [ -n "$workspace" ]; then
        set -- onboard --root "$root" -w "$workspace" --key-file "${key_file:--}"
        [ -z "$domain" ] || set -- "$@" -d "$domain"
        [ -z "$resource" ] || set -- "$@" -a "$resource"
        # What a test or a site with a private endpoint needs beside.
        [ -z "${OMSD_ENDPOINT-}" ] || set -- "$@" --endpoint "$OMSD_ENDPOINT"
        [ -z "${OMSD_CA_FILE-}" ] || set -- "$@" --ca-file "$OMSD_CA_FILE"
        onboard "$@" || exit $?
    fi
    # What was registered counts from the next start. What runs elsewhere, or by hand, is none of ours.
    if [ "$start" = yes ] && [ "$root" = / ] && [ -n "$workspace$import" ] && ! grep -qx 'mode none' "$manifest"; then
        "$program" service restart
    fi
}

# onboard ARGUMENT...: the key goes through a pipe, the proxy by the environment; `printf` is the shell's own. Neither secret is in a list
# of processes, nor the proxy in the environment of a service that is started.
onboard() {
    primary=$(readlink "${root%/}/etc/opt/omsd/conf" 2>/dev/null)
    if [ -n "$key_file" ]; then
        OMSD_PROXY=$proxy "$program" "$@"
    else
        printf '%s\n' "$key" | OMSD_PROXY=$proxy "$program" "$@"
    fi || return $?
    [ "$beside" = no ] || [ -z "$primary" ] || for name in conf certs; do
        ln -sfn "${primary%%/*}/$name" "${root%/}/etc/opt/omsd/$name"
    done
}

uninstall() {
    need_root
    if [ ! -x "$program" ]; then
        if [ ! -d "${root%/}/etc/opt/omsd" ] && [ ! -d "${root%/}/var/opt/omsd" ]; then
            echo 'omsd is not installed'
            return
        fi
        # What --remove left, or somebody who deleted the program.
        stage
        program=$stage/omsd
    fi
    # It takes itself away.
    "$program" uninstall --root "$root" "$@"
}

extract() {
    mkdir -p "$1" || fail "cannot make $1" 17
    unpack "$1"
    echo "unpacked to $1"
}

version_check() {
    there=$(version_of "$program")
    if [ -z "$there" ] || older "$there" "$VERSION"; then would=yes; else would=no; fi
    printf '%-12s %-12s %-12s %s\n' Component Installed Available 'Install?' omsd "${there:-no}" "$VERSION" "$would"
}

@SCRIPTS@
self=$0
[ -f "$self" ] || fail 'this bundle has to be a file: sh FILE --help' 2
action='' force=no debug=no import='' start=yes directory=./omsd-$VERSION
workspace='' key='' key_file='' domain='' proxy=${OMSD_PROXY-} resource='' beside=no
unset OMSD_PROXY
root=/ prefix='' user='' mode='' syslog=yes

# value OPTION COUNT: an option that wants a value must not be the last word.
value() { [ "$2" -gt 1 ] || bad "$1 wants a value"; }
act() {
    [ -z "$action" ] || [ "$action" = "$1" ] || bad "--$action and --$1 exclude each other"
    action=$1
}

while [ $# -gt 0 ]; do
    case $1 in
        --install | --upgrade | --remove | --purge | --version | --version-check) act "${1#--}" ;;
        --extract)
            act extract
            case ${2--} in
                -*) ;;
                *) directory=$2 && shift ;;
            esac
            ;;
        --force) force=yes ;;
        --import) import=yes ;;
        --debug) debug=yes ;;
        --no-start) start=no ;;
        --no-syslog) syslog=no ;;
        --restart-deps | --noDigest | --skip-docker-provider-install | --enable-opsmgr) ;;
        -w | --id) value "$1" $# && workspace=$2 && shift ;;
        -s | --shared) value "$1" $# && key=$2 && shift ;;
        --key-file) value "$1" $# && key_file=$2 && shift ;;
        -d | --domain) value "$1" $# && domain=$2 && shift ;;
        -p | --proxy) value "$1" $# && proxy=$2 && shift ;;
        -a | --azure-resource) value "$1" $# && resource=$2 && shift ;;
        -m | --multi-homing-marker) value "$1" $# && beside=yes && shift ;;
        --root) value "$1" $# && root=$2 && shift ;;
        --prefix) value "$1" $# && prefix=$2 && shift ;;
        --user) value "$1" $# && user=$2 && shift ;;
        --mode) value "$1" $# && mode=$2 && shift ;;
        '-?' | -h | --help) usage && exit 0 ;;
        *) bad "$1 is no option" ;;
    esac
    shift
done
[ -n "$action" ] || fail "$0: nothing to do; see sh $0 --help" 3
if [ -z "$workspace" ] && [ -n "$key$key_file$domain" ]; then bad '-s, --key-file and -d want -w'; fi
if [ -n "$workspace" ] && [ -z "$key$key_file" ]; then bad '-w wants -s or --key-file'; fi
manifest=${root%/}/etc/opt/omsd/manifest
[ -n "$prefix" ] || prefix=$(installed_prefix)
prefix=${prefix:-/opt/omsd}
program=${root%/}$prefix/bin/omsd
[ "$debug" = no ] || set -x

case $action in
    install | upgrade) install ;;
    remove) uninstall ;;
    purge) uninstall --purge ;;
    extract) extract "$directory" ;;
    version) echo "$VERSION" ;;
    version-check) version_check ;;
esac
exit $?
