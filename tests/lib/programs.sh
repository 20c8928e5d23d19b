# shellcheck shell=bash
# Sourced by tests/run: the daemons and systems that the tests run against, in target/tests. Needs cross/packages.sh.
#
# A daemon that the machine has is used as it is. Otherwise its package is unpacked, not installed: installing would start
# it, and Debian's rsyslog and syslog-ng exclude each other.

# provide_daemons DIRECTORY: leaves their commands in DIRECTORY/bin.
provide_daemons() {
    mkdir -p "$1/bin"
    provide "$1" rsyslogd rsyslog
    provide "$1" syslog-ng syslog-ng-core
    provide "$1" nginx nginx
    provide "$1" squid squid-openssl
    provide "$1" stunnel stunnel4
    provide "$1" tinyproxy tinyproxy-bin
}

# provide_crons DIRECTORY: the same for the two crons of the host stage.
provide_crons() {
    mkdir -p "$1/bin"
    provide "$1" cron cron
    provide "$1" busybox busybox-static
}

# is_fit COMMAND: whether the machine's own can do what is tested. Debian's other squid has no OpenSSL and no port for TLS, its other
# busybox no crond; another cron than Debian's is found elsewhere.
is_fit() {
    case $1 in
        # All of it is read: a pipe that breaks would look like no.
        */squid) "$1" -v | grep -e --with-openssl >/dev/null ;;
        */busybox) "$1" --list | grep -x crond >/dev/null ;;
        */cron) [[ $1 == /usr/sbin/cron ]] ;;
    esac
}

# provide DIRECTORY COMMAND PACKAGE
provide() {
    local root=$1/$3 command=$1/bin/$2 found modules=() programs=()
    if found=$(type -P "$2") && [[ $found != "$command" ]] && is_fit "$found"; then
        ln -sfn "$found" "$command"
        return
    fi
    unpack_package "$3" "$root"
    mapfile -t libraries < <(apt-cache depends "$3" | sed -n 's/^  Depends: \(lib[^ ]*\)$/\1/p')
    need_packages "${libraries[@]}"
    rm -f "$command"
    mapfile -t programs < <(find "$root/usr" "$root/bin" -path "*bin/$2" ! -type d 2>/dev/null)
    if [[ $2 == busybox ]]; then
        # Not a script that starts it: it goes by the name that it is called by.
        ln -s "${programs[0]}" "$command"
        return
    fi
    case $2 in
        rsyslogd)
            modules=("$root"/usr/lib/*/rsyslog)
            printf '#!/bin/sh\nexport RSYSLOG_MODDIR="%s/"\nexec "%s" "$@"\n' "${modules[0]}" "$root/usr/sbin/rsyslogd"
            ;;
        syslog-ng)
            modules=("$root"/usr/lib/syslog-ng/[0-9]*)
            printf '#!/bin/sh\nexport LD_LIBRARY_PATH="%s"\nexec "%s" --module-path="%s" "$@"\n' \
                "$root/usr/lib/syslog-ng" "$root/usr/sbin/syslog-ng" "${modules[0]}"
            ;;
        *) printf '#!/bin/sh\nexec "%s" "$@"\n' "${programs[0]}" ;;
    esac >"$command"
    chmod +x "$command"
}

# provide_release DIRECTORY: leaves there the tree of the Debian release that the directory is called after, with what the host tests want in
# it: installed, but for syslog-ng, which excludes rsyslog and lies packed in DIRECTORY/syslog-ng. From the mirror that this machine's apt
# uses, by the proxy that it uses; needs root.
provide_release() {
    local mirror options fetch
    [[ ! -e $1/.whole || ! -e $1/syslog-ng ]] || return 0
    # shellcheck disable=SC2016 # apt's own variable
    mirror=$(apt-get indextargets 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' --format '$(REPO_URI)' | head -n 1)
    [[ -n $mirror ]] || die 'apt has no list of a Debian mirror: apt-get update'
    mapfile -t options < <(apt-config dump | sed -n 's/^\(Acquire::[^ ]*Proxy.*;\)$/--aptopt=\1/p')
    # shellcheck disable=SC2016 # mmdebstrap's own variables
    fetch='export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && apt-get clean && apt-get -qq -y --download-only install syslog-ng-core &&
        mkdir "$1/syslog-ng" && mv "$1"/var/cache/apt/archives/*.deb "$1/syslog-ng/"'
    rm -rf "$1"
    mkdir -p "${1%/*}"
    bounded 600 mmdebstrap --quiet --variant=minbase --include=cron,dbus,openrc,rsyslog,systemd "${options[@]}" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook="$fetch" "${1##*/}" "$1" "$mirror"
    touch "$1/.whole"
}
