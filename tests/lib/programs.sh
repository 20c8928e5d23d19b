# shellcheck shell=bash
# Sourced by tests/run: the syslog daemons that the end-to-end tests run against, in target/tests. Needs cross/packages.sh.
#
# A daemon that the machine has is used as it is. Otherwise its package is unpacked, not installed: Debian's rsyslog and
# syslog-ng exclude each other, and installing either would start it in the place of the machine's own.

# provide_daemons DIRECTORY: leaves commands rsyslogd and syslog-ng in DIRECTORY/bin.
provide_daemons() {
    mkdir -p "$1/bin"
    provide "$1" rsyslogd rsyslog
    provide "$1" syslog-ng syslog-ng-core
}

# provide DIRECTORY COMMAND PACKAGE
provide() {
    local root=$1/$3 command=$1/bin/$2 found modules=()
    if found=$(type -P "$2") && [[ $found != "$command" ]]; then
        ln -sfn "$found" "$command"
        return
    fi
    unpack_package "$3" "$root"
    mapfile -t libraries < <(apt-cache depends "$3" | sed -n 's/^  Depends: \(lib[^ ]*\)$/\1/p')
    need_packages "${libraries[@]}"
    rm -f "$command"
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
    esac >"$command"
    chmod +x "$command"
}
