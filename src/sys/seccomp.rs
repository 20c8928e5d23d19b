//! Which system calls this process may still make: filters that the kernel asks at every call, made of conf/seccomp.txt.
//! Source: seccomp(2), and the kernel's documentation of seccomp filters.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::io;

/// Which process of ours a filter is for; conf/seccomp.txt says what each may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The long-lived process. Its filter has every line: children inherit it.
    Daemon,
    /// A child that uploads and opens no file for writing.
    Upload,
    /// A child that uploads and keeps a token in a file.
    Token,
    /// The child that keeps the identity alive.
    Identity,
    /// The child that asks file systems for their room.
    Space,
}

impl Role {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What becomes of a process that makes a call which is not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Manner {
    /// It dies of SIGSYS.
    Kill = 1,
    /// The kernel's log has a line, and the call is made; execve(2) and ptrace(2) kill all the same.
    Log = 2,
}

/// A line of the table.
struct Line {
    #[cfg(test)]
    name: &'static str,
    number: u32,
    /// A bit for each [`Role`].
    roles: u8,
    condition: Condition,
}

/// What must hold of an argument, counted from 0. The kernel looks at 32 bits of each that is used here.
#[derive(Clone, Copy)]
enum Condition {
    Any,
    OneOf(u32, &'static [u32]),
    Without(u32, u32),
}

/// Of this processor and C library; empty for processors that the table does not have.
const LINES: &[Line] = &include!(concat!(env!("OUT_DIR"), "/seccomp_calls.rs"));

/// How the kernel names our way to make calls, which is the only one that the filters let through. Source: linux/audit.h.
#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "x86")]
const ARCH: u32 = 0x4000_0003;
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
const ARCH: u32 = 0;

/// Calls from this number on are those of x32 programs, on a kernel for x86_64.
#[cfg(target_arch = "x86_64")]
const FOREIGN_FROM: u32 = 0x4000_0000;
/// What a tracer puts in the place of a call that is not to be made: the kernel answers ENOSYS.
const NO_CALL: u32 = u32::MAX;
/// All socket calls in one, on i386 before 4.3.
const SOCKETCALL: u32 = 102;

/// Calls that kill, whatever the manner: other programs, and other processes' memory.
#[rustfmt::skip]
const NEVER: [libc::c_long; 5] = [
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
];

// Kernels before 4.14 take it for "kill the thread", of which we have one.
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const LOG: u32 = libc::SECCOMP_RET_LOG;

/// Bytes from the start of what a filter is shown. Source: linux/seccomp.h, `seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

/// The filter that this process has: 0 for none, else its [`Manner`].
static ENTERED: AtomicU8 = AtomicU8::new(0);
/// And whether it lets socketcall through.
static WITH_SOCKETCALL: AtomicBool = AtomicBool::new(false);

/// Puts the daemon's filter on this process and all its future children, for good. It must have renounced new privileges.
/// `Ok(false)`: this kernel cannot (before 3.5; to log before 4.14), or this processor has no table. Fails if the kernel
/// can and does not.
pub fn enter(manner: Manner) -> io::Result<bool> {
    if ARCH == 0 || (manner == Manner::Log && !can_log()) {
        return Ok(false);
    }
    let with_socketcall = socketcall_is_needed();
    let entered = install(&program(Role::Daemon, manner, with_socketcall))?;
    if entered {
        ENTERED.store(manner as u8, Ordering::Relaxed);
        WITH_SOCKETCALL.store(with_socketcall, Ordering::Relaxed);
    }
    Ok(entered)
}

/// Puts the narrower filter of a child on top of the daemon's; does nothing where that has none. Fails if the kernel does.
pub fn narrow(role: Role) -> io::Result<()> {
    let manner = match ENTERED.load(Ordering::Relaxed) {
        0 => return Ok(()),
        entered if entered == Manner::Log as u8 => Manner::Log,
        _ => Manner::Kill,
    };
    install(&program(role, manner, WITH_SOCKETCALL.load(Ordering::Relaxed))).map(drop)
}

use libc::sock_filter as Instruction;

fn program(role: Role, manner: Manner, with_socketcall: bool) -> Vec<Instruction> {
    let mut program = Vec::with_capacity(4 * LINES.len());
    program.extend([load(ARCH_AT), if_equal(ARCH, 1), give(KILL), load(NUMBER_AT)]);
    program.extend([if_equal_else(NO_CALL, 1), give(ALLOW)]);
    #[cfg(target_arch = "x86_64")]
    program.extend([jump(libc::BPF_JGE, FOREIGN_FROM, 0, 1), give(KILL)]);
    for number in NEVER.iter().filter_map(|&number| u32::try_from(number).ok()) {
        program.extend([if_equal_else(number, 1), give(KILL)]);
    }
    let is_for = |line: &&Line| role == Role::Daemon || line.roles & role.bit() != 0;
    let is_missing = |line: &&Line| cfg!(target_arch = "x86") && line.number == SOCKETCALL && !with_socketcall;
    for line in LINES.iter().filter(is_for).filter(|line| !is_missing(line)) {
        add(line, &mut program);
    }
    program.push(give(if manner == Manner::Kill { KILL } else { LOG }));
    program
}

/// Adds what allows a line's call; of any other, or one whose argument is another, the lines that follow decide.
fn add(line: &Line, program: &mut Vec<Instruction>) {
    match line.condition {
        Condition::Any => program.extend([if_equal_else(line.number, 1), give(ALLOW)]),
        Condition::OneOf(argument, values) => {
            let behind = u8::try_from(2 * values.len() + 2).unwrap_or(u8::MAX);
            program.extend([if_equal_else(line.number, behind), load(ARGUMENTS_AT + 8 * argument)]);
            values.iter().for_each(|&value| program.extend([if_equal_else(value, 1), give(ALLOW)]));
            program.push(load(NUMBER_AT));
        }
        Condition::Without(argument, bits) => program.extend([
            if_equal_else(line.number, 4),
            load(ARGUMENTS_AT + 8 * argument),
            jump(libc::BPF_JSET, bits, 1, 0),
            give(ALLOW),
            load(NUMBER_AT),
        ]),
    }
}

fn load(offset: u32) -> Instruction {
    Instruction { code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), jt: 0, jf: 0, k: offset }
}

fn give(answer: u32) -> Instruction {
    Instruction { code: code(libc::BPF_RET | libc::BPF_K), jt: 0, jf: 0, k: answer }
}

/// Passes over `skipped` instructions if what was loaded is `value`.
fn if_equal(value: u32, skipped: u8) -> Instruction {
    jump(libc::BPF_JEQ, value, skipped, 0)
}

/// Passes over `skipped` instructions if it is not.
fn if_equal_else(value: u32, skipped: u8) -> Instruction {
    jump(libc::BPF_JEQ, value, 0, skipped)
}

fn jump(test: u32, value: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code: code(libc::BPF_JMP | test | libc::BPF_K), jt, jf, k: value }
}

#[expect(clippy::cast_possible_truncation, reason = "codes of instructions have eight bits")]
const fn code(bits: u32) -> u16 {
    bits as u16
}

/// `Ok(false)`: the kernel has no filters.
fn install(program: &[Instruction]) -> io::Result<bool> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let list = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // By the younger call first: it can say that no foreign code runs here, which otherwise costs every branch (before 5.16).
    // SAFETY: the list and the program it points to live through both calls, which only read them.
    let is_done = unsafe {
        let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW);
        libc::syscall(libc::SYS_seccomp, mode, flags, &raw const list) == 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const list) == 0
    };
    if is_done {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => Ok(false),
        error => Err(error),
    }
}

fn can_log() -> bool {
    let action = LOG;
    // SAFETY: the kernel only reads the live number.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

/// Whether this kernel knows none of the calls that socketcall was before, whose arguments a filter cannot see.
fn socketcall_is_needed() -> bool {
    // SAFETY: a socket of no family is never made.
    let answer = unsafe { libc::syscall(libc::SYS_socket, -1, 0, 0) };
    answer == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use std::fs;

    const TABLE: &str = include_str!("../../conf/seccomp.txt");
    const ROLES: [Role; 5] = [Role::Daemon, Role::Upload, Role::Token, Role::Identity, Role::Space];
    const EXEC: u32 = 4;

    /// What the kernel would make of a call.
    fn answer(program: &[Instruction], arch: u32, number: u32, arguments: [u32; 3]) -> u32 {
        let (mut place, mut loaded) = (0, 0);
        loop {
            let Instruction { code: found, jt, jf, k } = program[place];
            let skipped = |is_so: bool| usize::from(if is_so { jt } else { jf });
            place += 1 + match u32::from(found) {
                it if it == libc::BPF_RET => return k,
                it if it == libc::BPF_LD | libc::BPF_ABS => {
                    loaded = match k {
                        NUMBER_AT => number,
                        ARCH_AT => arch,
                        argument => arguments[(argument as usize - ARGUMENTS_AT as usize) / 8],
                    };
                    0
                }
                it if it == libc::BPF_JMP | libc::BPF_JEQ => skipped(loaded == k),
                it if it == libc::BPF_JMP | libc::BPF_JGE => skipped(loaded >= k),
                it if it == libc::BPF_JMP | libc::BPF_JSET => skipped(loaded & k != 0),
                other => panic!("instruction {other:x}"),
            };
        }
    }

    fn number_of(name: &str) -> u32 {
        LINES.iter().find(|line| line.name == name).unwrap_or_else(|| panic!("{name} is not in the table")).number
    }

    #[track_caller]
    fn check(role: Role, name: &str, arguments: [u32; 3], expected: u32) {
        let program = program(role, Manner::Kill, false);
        assert_eq!(answer(&program, ARCH, number_of(name), arguments), expected, "{name}{arguments:?} of {role:?}");
    }

    #[test]
    fn what_a_line_names_is_allowed_and_nothing_else() {
        for role in ROLES {
            let program = program(role, Manner::Kill, true);
            for number in 0..1000 {
                let is_named =
                    |line: &Line| line.number == number && (role == Role::Daemon || line.roles & role.bit() != 0);
                let lines = || LINES.iter().filter(|line| is_named(line));
                // No condition of the table holds of such arguments, and of none, but that of bits.
                let is_open = lines().any(|line| matches!(line.condition, Condition::Any));
                let expected = if is_open { ALLOW } else { KILL };
                assert_eq!(answer(&program, ARCH, number, [u32::MAX; 3]), expected, "{number} of {role:?}");
                for line in lines() {
                    if let Condition::OneOf(argument, values) = line.condition {
                        let mut arguments = [u32::MAX; 3];
                        arguments[argument as usize] = values[values.len() - 1];
                        assert_eq!(answer(&program, ARCH, number, arguments), ALLOW, "{} of {role:?}", line.name);
                    }
                }
            }
        }
    }

    #[test]
    fn other_ways_to_make_calls_and_those_of_x32_kill() {
        let program = program(Role::Daemon, Manner::Kill, false);
        let read = number_of("read");
        assert_eq!(answer(&program, ARCH, read, [0; 3]), ALLOW);
        assert_eq!(answer(&program, ARCH ^ 0x8000_0000, read, [0; 3]), KILL);
        assert_eq!(answer(&program, 0x4000_0003 ^ 0xc000_003e ^ ARCH, 0, [0; 3]), KILL);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(answer(&program, ARCH, read | FOREIGN_FROM, [0; 3]), KILL);
        assert_eq!(answer(&program, ARCH, NO_CALL, [0; 3]), ALLOW, "what a tracer took away is no call");
    }

    #[test]
    fn other_programs_and_processes_are_out_of_reach_even_when_calls_are_only_logged() {
        for role in ROLES {
            let program = program(role, Manner::Log, false);
            for number in NEVER {
                let number = u32::try_from(number).unwrap();
                assert!(!LINES.iter().any(|line| line.number == number));
                assert_eq!(answer(&program, ARCH, number, [0; 3]), KILL);
            }
            assert_eq!(answer(&program, ARCH, 999, [0; 3]), LOG);
        }
    }

    #[test]
    fn a_child_can_do_less_than_its_parent() {
        let (read_only, write_only, create, truncate) = (0, 1, 0o101, 0o1002);
        for (role, expected) in [(Role::Upload, KILL), (Role::Token, ALLOW), (Role::Identity, ALLOW)] {
            check(role, "openat", [0, 0, read_only], ALLOW);
            for flags in [write_only, create, truncate] {
                check(role, "openat", [0, 0, flags], expected);
                check(role, "open", [0, flags, 0], expected);
            }
        }
        for role in [Role::Upload, Role::Token, Role::Identity, Role::Space] {
            for name in ["listen", "accept4", "fork", "kill", "wait4", "prctl", "seccomp", "landlock_restrict_self"] {
                check(role, name, [9; 3], KILL);
            }
            for name in ["mmap", "mprotect"] {
                check(role, name, [0, 0, 3], ALLOW);
                check(role, name, [0, 0, EXEC], KILL);
            }
            let network = if role == Role::Space { KILL } else { ALLOW };
            check(role, "connect", [0; 3], network);
        }
        for (family, expected) in [(1, ALLOW), (2, ALLOW), (10, ALLOW), (16, ALLOW), (17, KILL), (40, KILL)] {
            check(Role::Upload, "socket", [family, 0, 0], expected);
        }
        check(Role::Daemon, "kill", [1, 9, 0], ALLOW);
        check(Role::Daemon, "kill", [1, 15, 0], KILL);
    }

    #[test]
    fn every_line_has_a_reason_and_the_numbers_of_the_kernels_headers() {
        let headers = ["/usr/include/x86_64-linux-gnu/asm", "/usr/include/asm"];
        let header = |name: &str| -> String {
            let read = headers.iter().find_map(|directory| fs::read_to_string(format!("{directory}/{name}")).ok());
            read.unwrap_or_else(|| panic!("no asm/{name}: install the package linux-libc-dev"))
        };
        let numbers = [header("unistd_64.h"), header("unistd_32.h")];
        for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(words.len() > 5, "no reason: {line}");
            for (number, header) in words[1..3].iter().zip(&numbers) {
                let define = format!("#define __NR_{} {number}\n", words[0]);
                assert!(*number == "-" || header.contains(&define), "{line}: not {define}");
            }
        }
    }
}
