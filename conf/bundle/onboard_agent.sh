#!/bin/sh
# Fetches the bundle of omsd @VERSION@ for this machine, makes sure that it is the one that this script was made with, installs it and
# registers the host: sh onboard_agent.sh -w WORKSPACE -s KEY
#
# A bundle that lies beside this script, or in the current directory, is not fetched. Needs a POSIX shell, sha256sum, and curl or wget.
set -u

VERSION=@VERSION@
URL=${OMSD_URL:-@URL@}
SHA256_X64=@SHA256_X64@
SHA256_X86=@SHA256_X86@
SHA256_I586=@SHA256_I586@

usage() {
    cat <<END
usage: sh $0 -w WORKSPACE -s KEY [-d DOMAIN] [-p PROXY] [--url DIRECTORY] [BUNDLE OPTION...]
       sh $0 --purge

  -w, --id ID        workspace
  -s, --shared KEY   its key; other users may see it in the list of processes: rather use --key-file
      --key-file F   file with the key; - is standard input
  -d, --domain D     the cloud's domain, opinsights.azure.com by default
  -p, --proxy P      [http://|https://][user:password@]host[:port]; the bundle is fetched through it, too; where others may see
                     the list of processes, rather OMSD_PROXY in the environment
      --url DIR      directory of the web server that has the bundle; default: OMSD_URL in the environment, else ${URL:-none}
      --purge        uninstall, and remove everything
Everything else goes to the bundle, whose exit code is this script's. Its own: 1 the bundle cannot be fetched, 2 bad option,
6 there is none for this machine, 65 what was fetched is not the bundle that this script was made with.
END
}

fail() {
    echo "$0: $1" >&2
    exit "$2"
}

# fetch URL FILE: with curl or wget. A proxy's password goes by a file or the environment, not by the command line.
fetch() {
    if command -v curl >/dev/null; then
        if [ -n "$proxy" ]; then
            escaped=$(printf '%s' "$proxy" | sed 's/["\\]/\\&/g')
            printf 'proxy = "%s"\n' "$escaped"
        fi | curl -fsSL --retry 3 -K - -o "$2" "$1"
    elif command -v wget >/dev/null; then
        case $proxy in
            '') ;;
            *://*) export http_proxy="$proxy" https_proxy="$proxy" ;;
            *) export http_proxy="http://$proxy" https_proxy="http://$proxy" ;;
        esac
        wget -q -O "$2" "$1"
    else
        fail 'neither curl nor wget is here: put the bundle beside this script' 1
    fi
}

is_bundle() {
    [ -f "$1" ] || return 1
    sum=$(sha256sum <"$1")
    [ "${sum%% *}" = "$wanted" ]
}

machine=$(uname -m)
case $machine in
    x86_64) name=omsd-$VERSION.universal.x64.sh wanted=$SHA256_X64 ;;
    i[3-6]86)
        name=omsd-$VERSION.universal.x86.sh wanted=$SHA256_X86
        if grep -q '^flags' /proc/cpuinfo 2>/dev/null && ! grep -q '^flags.* sse2' /proc/cpuinfo; then
            name=omsd-$VERSION.universal.i586.sh wanted=$SHA256_I586 machine="$machine without SSE2"
        fi
        ;;
    *) wanted='' ;;
esac

proxy=${OMSD_PROXY-} action=--upgrade words=$#
while [ "$words" -gt 0 ]; do
    word=$1
    shift
    words=$((words - 1))
    case $word in
        '-?' | -h | --help) usage && exit 0 ;;
        --purge) action=--purge ;;
        --url)
            [ "$words" -gt 0 ] || fail '--url wants a value' 2
            URL=$1 && shift && words=$((words - 1))
            ;;
        -p | --proxy)
            [ "$words" -gt 0 ] || fail "$word wants a value" 2
            proxy=$1 && shift && words=$((words - 1))
            ;;
        -w | --id | -s | --shared | -d | --domain | -a | --azure-resource | -m | --multi-homing-marker | --key-file | --root | --prefix | --user | --mode)
            [ "$words" -gt 0 ] || fail "$word wants a value" 2
            set -- "$@" "$word" "$1" && shift && words=$((words - 1))
            ;;
        *) set -- "$@" "$word" ;;
    esac
done

[ -n "$wanted" ] || fail "there is no bundle for $machine" 6
command -v sha256sum >/dev/null || fail 'sha256sum is missing, without which nothing fetched can be trusted' 1
directory=${TMPDIR:-/tmp}/.omsd-onboard.$$
bundle=$directory/$name
(umask 077 && mkdir "$directory") || fail "cannot make $directory" 1
trap 'rm -rf "$directory"' EXIT
trap 'exit 1' HUP INT TERM
from=''
for each in "$(dirname -- "$0")/$name" "./$name"; do
    [ -n "$from" ] || [ ! -f "$each" ] || from=$each
done
if [ -n "$from" ]; then
    # A copy, in a directory that nobody else can write to: what is run is what was looked at.
    cp "$from" "$bundle" || fail "cannot copy $from" 1
else
    [ -n "$URL" ] || fail "$name is not here, and nobody says where it is: --url" 2
    from=${URL%/}/$name
    fetch "$from" "$bundle" || fail "cannot fetch $from" 1
fi
is_bundle "$bundle" || fail "$from is not the bundle that this script was made with" 65
OMSD_PROXY=$proxy sh "$bundle" "$action" "$@"
