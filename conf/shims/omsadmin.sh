#!/bin/sh
# omsadmin.sh for scripts that were written for Microsoft's agent: its options and output lines, done by omsd.
#
# Exit codes: 0 done; 1 not permitted, or a workspace that is not here; 2 usage; 3 a bad id, key or value; 5 the service refuses the key (or our
# clock); 8 no answer, name, proxy and TLS included; 30 our own failure. Unlike the original's, a bad option and an unknown
# workspace are failures.
#
# OMSD names the program, otherwise it is the omsd beside this script, else that of a package; OMSD_ROOT is put in front of every path.
set -u

# A link to this script may be where the original's was.
self=$(readlink -f "$0" 2>/dev/null) || self=$0
OMSD=${OMSD:-$(dirname -- "$self")/omsd}
[ -x "$OMSD" ] || OMSD=/usr/sbin/omsd
OMSD_ROOT=${OMSD_ROOT:-/}
onboard_file=${OMSD_ROOT%/}/etc/omsagent-onboard.conf

usage() {
    cat <<END
usage: $0 -w WORKSPACE -s KEY [-d DOMAIN] [-p PROXY [-u USER]] [-a RESOURCE] [-m NAME] [-v]
       $0 -l | -x WORKSPACE | -X | -U | -R | -o | -h
Without options: what /etc/omsagent-onboard.conf says, which is removed when it is done.

  -w, -s   register with this workspace and its key
  -d       the cloud's domain, opinsights.azure.com by default
  -p, -u   proxy (or OMSD_PROXY in the environment); with -u, its password is read from standard input
  -a       Azure resource id
  -m       beside the primary workspace; the name is not kept
  -l       list workspaces
  -x, -X   leave a workspace, or all
  -U, -R   nothing: omsd has no older layout
  -o       is there a management server's listener? There is none
  -v       nothing: no key is ever printed
END
}

info() { printf 'info\t%s\n' "$1"; }
failed() {
    printf 'error\t%s\n' "$1"
    exit "$2"
}

omsd() { "$OMSD" "$@"; }

# list: the original's lines and words.
list() {
    registered='Saved(OMSAgent Not Registered, Workspace Configuration Saved)'
    for file in etc/systemd/system/omsd.service lib/systemd/system/omsd.service usr/lib/systemd/system/omsd.service \
        etc/init.d/omsd etc/init/omsd.conf etc/cron.d/omsd; do
        [ ! -e "${OMSD_ROOT%/}/$file" ] || registered='Warning(OMSAgent Registered, Not Running)'
    done
    lines=$(omsd onboard list --root "$OMSD_ROOT") || exit 1
    # One process serves all workspaces; omsd says so of the primary one alone.
    case $lines in *'(omsd Running)'*) registered='Onboarded(OMSAgent Running)' ;; esac
    printf '%s\n' "$lines" | sed "s/Onboarded(omsd Running)/Onboarded(OMSAgent Running)/; s/Saved(omsd Not Running.*/$registered/"
}

# is_here WORKSPACE
is_here() { omsd onboard list --root "$OMSD_ROOT" | grep -qiF "Workspace: $1 "; }

# primary: the workspace that the links without an id lead to.
primary() { readlink "${OMSD_ROOT%/}/etc/opt/omsd/conf" 2>/dev/null | sed 's|/.*||'; }

onboard() {
    case $workspace in
        scom | LAD) failed "the special workspace $workspace is not served by omsd" 3 ;;
    esac
    if [ -z "$workspace" ] || [ -z "$key" ]; then failed 'a workspace and its key are wanted: -w and -s' 3; fi
    before=$(primary)
    set -- onboard --root "$OMSD_ROOT" -w "$workspace" --key-file -
    [ -z "$domain" ] || set -- "$@" -d "$domain"
    [ -z "$resource" ] || set -- "$@" -a "$resource"
    # What a test or a site with a private endpoint needs beside.
    [ -z "${OMSD_ENDPOINT-}" ] || set -- "$@" --endpoint "$OMSD_ENDPOINT"
    [ -z "${OMSD_CA_FILE-}" ] || set -- "$@" --ca-file "$OMSD_CA_FILE"
    # The key by a pipe, a proxy's password by the environment: neither is in the list of processes.
    printf '%s\n' "$key" | OMSD_PROXY=$proxy "$OMSD" "$@"
    case $? in
        0) ;;
        64 | 78) failed 'onboarding: a value is wrong' 3 ;;
        69) failed 'onboarding: the service refuses' 5 ;;
        73 | 74 | 77) failed 'onboarding: the files cannot be written' 1 ;;
        75) failed 'onboarding: no answer from the service' 8 ;;
        *) failed 'onboarding failed' 30 ;;
    esac
    if [ "$secondary" = yes ] && [ -n "$before" ]; then
        for name in conf certs; do
            ln -sfn "$before/$name" "${OMSD_ROOT%/}/etc/opt/omsd/$name"
        done
    fi
    info 'Onboarding success'
}

# from_file: KEY=value lines, read and never run, quotes around a value taken away.
from_file() {
    while IFS= read -r line || [ -n "$line" ]; do
        value=${line#*=}
        case $value in
            \"*\" | \'*\') value=${value#?} && value=${value%?} ;;
        esac
        case $line in
            WORKSPACE_ID=*) workspace=$value ;;
            SHARED_KEY=*) key=$value ;;
            PROXY=*) proxy=$value ;;
            URL_TLD=*) domain=$value ;;
            AZURE_RESOURCE_ID=*) resource=$value ;;
            MULTI_HOMING_MARKER=?*) secondary=yes ;;
        esac
    done <"$onboard_file"
}

remove() {
    is_here "$1" || failed "workspace $1 is not here" 1
    omsd onboard remove "$1" --root "$OMSD_ROOT" || exit 1
}

remove_all() {
    omsd onboard list --root "$OMSD_ROOT" | sed -n 's/.*Workspace: \([^ ]*\) .*/\1/p' | while read -r each; do
        omsd onboard remove "$each" --root "$OMSD_ROOT" || exit 1
    done
}

with_password() {
    [ -n "$proxy" ] || failed 'a proxy user without a proxy: -u wants -p' 4
    printf 'Password of %s: ' "$1" >&2
    [ ! -t 0 ] || stty -echo
    IFS= read -r password
    [ ! -t 0 ] || stty echo
    echo >&2
    case $proxy in
        *://*) proxy=${proxy%%://*}://$1:$password@${proxy#*://} ;;
        *) proxy=$1:$password@$proxy ;;
    esac
}

workspace='' key='' domain='' proxy=${OMSD_PROXY-} user='' resource='' secondary=no actions=''
if [ $# -eq 0 ]; then
    if [ ! -r "$onboard_file" ]; then usage >&2 && exit 2; fi
    from_file
    onboard
    rm -f "$onboard_file"
    exit 0
fi
while getopts w:s:d:p:u:a:m:lx:XURovh option; do
    case $option in
        w) workspace=$OPTARG && actions="$actions onboard" ;;
        s) key=$OPTARG ;;
        d) domain=$OPTARG ;;
        p) proxy=$OPTARG ;;
        u) user=$OPTARG ;;
        a) resource=$OPTARG ;;
        m) secondary=yes ;;
        l) actions="$actions list" ;;
        x) actions="$actions remove" && leave=$OPTARG ;;
        X) actions="$actions remove_all" ;;
        U | R) info 'nothing to do' ;;
        o) failed 'port 1270 is not open: omsd has no such listener' 1 ;;
        v) ;;
        h) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [ $# -gt 0 ]; then usage >&2 && exit 2; fi
[ -n "$workspace" ] || [ -z "$key" ] || failed 'a key without a workspace: -s wants -w' 3
[ -z "$user" ] || with_password "$user"
for action in $actions; do
    case $action in
        remove) remove "$leave" ;;
        *) "$action" ;;
    esac || exit 1
done
