# shellcheck shell=bash
# Sourced by cross/build: a C compiler and linker for static, position-independent musl programs, made of Debian's gcc.
#
# Debian's own musl-gcc cannot do it: its specs know dynamic and plain static programs only, and a -static-pie link takes
# Scrt1.o and names an interpreter. The specs here take rcrt1.o, musl's start code that relocates itself.

# make_toolchain DIRECTORY x86_64|i686|i586 debian|rustup: leaves the compiler DIRECTORY/cc, DIRECTORY/discard.ld and, with Debian's musl,
# DIRECTORY/start.o there.
# With rustup's standard library comes its own musl; with Debian's, that of the package musl-dev.
make_toolchain() {
    local tc=$1 arch=$2 std=$3 headers='' libraries machine=
    mkdir -p "$tc"
    case $std-$arch in
        rustup-*) libraries=$(rustc --print sysroot)/lib/rustlib/$arch-unknown-linux-musl/lib/self-contained ;;
        debian-x86_64)
            headers=/usr/include/x86_64-linux-musl
            libraries=/usr/lib/x86_64-linux-musl
            ;;
        debian-i?86)
            unpack_package musl-dev:i386 "$tc/musl-dev"
            headers=$tc/musl-dev/usr/include/i386-linux-musl
            libraries=$tc/musl-dev/usr/lib/i386-linux-musl
            ;;
    esac
    case $arch in
        i686) machine=' -m32 -march=pentium4 -mfpmath=sse' ;;
        i586) machine=' -m32 -march=pentium -mno-sse' ;;
    esac

    write_specs "$tc" "$headers" "$libraries"
    # rustc takes i686-musl for a target without static-pie and asks for a plain static program, AWS-LC's build for SSE2: the last
    # word wins.
    write_if_changed "$tc/cc" <<<$'#!/bin/sh\n'"exec gcc \"\$@\"$machine -specs '$tc/specs' -static-pie"
    chmod +x "$tc/cc"
    # Unwind tables are of no use to a program that aborts; gcc's own start files bring some along.
    write_if_changed "$tc/discard.ld" <<'END'
SECTIONS { /DISCARD/ : { *(.eh_frame) *(.eh_frame_hdr) *(.comment) } }
INSERT AFTER .text;
END
    [[ $std == rustup ]] || "$tc/cc" -c -Os -ffreestanding -fPIC -fno-stack-protector -Wall -Werror cross/start.c -o "$tc/start.o"
    # std asks for -lunwind. Where it was built to abort at once nothing in there is used: an empty archive will do.
    mkdir -p "$tc/lib"
    [[ $std == rustup || -e $tc/lib/libunwind.a ]] || ar rc "$tc/lib/libunwind.a"
}

# write_specs DIRECTORY HEADERS LIBRARIES: what gcc is to do otherwise, in DIRECTORY/specs. Without HEADERS the compiler
# is left with its own. Source: gcc's manual, "Spec Files".
write_specs() {
    local tc=$1 headers=$2 libraries=$3 include=''
    if [[ -n $headers ]]; then
        # The kernel's headers apart from glibc's, which stand beside them.
        mkdir -p "$tc/kernel"
        ln -sfn /usr/include/linux "$tc/kernel/linux"
        ln -sfn /usr/include/asm-generic "$tc/kernel/asm-generic"
        ln -sfn /usr/include/x86_64-linux-gnu/asm "$tc/kernel/asm"
        include="-nostdinc -isystem $headers -isystem include%s -isystem $tc/kernel"
    fi
    write_if_changed "$tc/specs" <<END
%rename cpp_options gcc_cpp_options

*cpp_options:
$include %(gcc_cpp_options)

*cc1:
%(cc1_cpu) $include

*link_libgcc:
-L$libraries -L$tc/lib -L .%s

*libgcc:
libgcc.a%s

*startfile:
$libraries/rcrt1.o $libraries/crti.o crtbeginS.o%s

*endfile:
crtendS.o%s $libraries/crtn.o

*link:
%{m32:-m elf_i386;:-m elf_x86_64} -nostdlib -static -pie --no-dynamic-linker -z text -z relro -z now -z noexecstack

*esp_link:


*esp_options:


*esp_cpp_options:


END
}

# Keeps the file and its time when nothing changed, so that no build is repeated for it.
write_if_changed() {
    cat >"$1.new"
    if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}
