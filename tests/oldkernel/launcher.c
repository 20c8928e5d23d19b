/*
 * launcher LEVEL PROGRAM [ARGUMENT...]: runs a program as on an old kernel: calls that are younger answer ENOSYS, flags and options
 * that are younger what such a kernel answers. The program may be for x86_64 or i386. Its children inherit it.
 *
 * What cannot be shown: flags that an old kernel passed over in silence (O_CLOEXEC before 2.6.23), and an old /proc.
 *
 * Numbers of calls are handed out in order: one number for each processor says what a kernel did not have yet. Sources: the kernel's
 * syscall tables by release, and the VERSIONS and HISTORY sections of the calls' manual pages.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define VERSION(a, b, c) ((a) << 16 | (b) << 8 | (c))

static const struct level {
    const char *name;
    unsigned version, first_64, first_32; /* the first number of a call that is missing */
} levels[] = {
    {"2.6.18", VERSION(2, 6, 18), 280, 318},
    {"2.6.32", VERSION(2, 6, 32), 299, 337},
    {"3.2", VERSION(3, 2, 0), 312, 349},
    {"3.10", VERSION(3, 10, 0), 314, 351},
    {"4.4", VERSION(4, 4, 0), 326, 377},
};

/* A call that is refused if an argument, cut to these bits, has this value; for a flag the value is 0 and the refusal is for any other. */
static const struct {
    unsigned since, call_64, call_32, argument, bits, value, error;
} younger[] = {
    {VERSION(2, 6, 22), 202, 240, 1, 0x80, 0, ENOSYS},                 /* futex, private */
    {VERSION(2, 6, 24), 72, 221, 1, ~0u, 1030, EINVAL},                /* fcntl F_DUPFD_CLOEXEC */
    {VERSION(2, 6, 25), 202, 240, 1, 0x7f, 9, ENOSYS},                 /* futex FUTEX_WAIT_BITSET */
    {VERSION(2, 6, 25), 157, 172, 0, ~0u, 24, EINVAL},                 /* prctl PR_CAPBSET_DROP */
    {VERSION(2, 6, 27), 41, 359, 1, 02000000 | 04000, 0, EINVAL},      /* socket SOCK_CLOEXEC, SOCK_NONBLOCK */
    {VERSION(2, 6, 27), 53, 360, 1, 02000000 | 04000, 0, EINVAL},      /* socketpair, the same */
    {VERSION(2, 6, 28), ~0u, 102, 0, ~0u, 18, EINVAL},                 /* socketcall accept4 */
    {VERSION(2, 6, 32), 228, 265, 0, ~0u, 6, EINVAL},                  /* clock_gettime CLOCK_MONOTONIC_COARSE */
    {VERSION(2, 6, 33), ~0u, 102, 0, ~0u, 19, EINVAL},                 /* socketcall recvmmsg */
    {VERSION(2, 6, 35), 72, 221, 1, ~0u, 1031, EINVAL},                /* fcntl F_SETPIPE_SZ */
    {VERSION(2, 6, 39), 228, 265, 0, ~0u, 7, EINVAL},                  /* clock_gettime CLOCK_BOOTTIME */
    {VERSION(3, 0, 0), ~0u, 102, 0, ~0u, 20, EINVAL},                  /* socketcall sendmmsg */
    {VERSION(3, 4, 0), 28, 219, 2, ~0u, 16, EINVAL},                   /* madvise MADV_DONTDUMP */
    {VERSION(3, 5, 0), 157, 172, 0, ~0u, 22, EINVAL},                  /* prctl PR_SET_SECCOMP with a filter */
    {VERSION(3, 5, 0), 157, 172, 0, ~0u, 38, EINVAL},                  /* prctl PR_SET_NO_NEW_PRIVS */
    {VERSION(3, 9, 0), 54, 366, 2, ~0u, 15, ENOPROTOOPT},              /* setsockopt SO_REUSEPORT */
    {VERSION(3, 11, 0), 257, 295, 2, 020000000, 0, EISDIR},            /* openat O_TMPFILE */
    {VERSION(4, 3, 0), 157, 172, 0, ~0u, 47, EINVAL},                  /* prctl PR_CAP_AMBIENT */
    {VERSION(4, 7, 0), 54, 366, 2, ~0u, 42, ENOPROTOOPT},              /* setsockopt SO_PEEK_OFF, of UDP */
    {VERSION(4, 12, 0), 55, 365, 2, ~0u, 55, ENOPROTOOPT},             /* getsockopt SO_MEMINFO */
    {VERSION(4, 14, 0), 317, 354, 0, ~0u, 2, EINVAL},                  /* seccomp SECCOMP_GET_ACTION_AVAIL, so no SECCOMP_RET_LOG */
    {VERSION(4, 14, 0), 317, 354, 1, ~1u, 0, EINVAL},                  /* seccomp with other flags than SECCOMP_FILTER_FLAG_TSYNC */
    {VERSION(4, 14, 0), 28, 219, 2, ~0u, 18, EINVAL},                  /* madvise MADV_WIPEONFORK */
};

#define LOAD(what) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, what))
#define JUMP(test, value, if_so, else_) BPF_JUMP(BPF_JMP | (test) | BPF_K, value, if_so, else_)
#define ANSWER(with) BPF_STMT(BPF_RET | BPF_K, with)
#define REFUSE(error) ANSWER(SECCOMP_RET_ERRNO | (error))

static struct sock_filter program[512];
static unsigned length;

static void add(struct sock_filter instruction) { program[length++] = instruction; }

/* The rules for one processor, which end with an answer. */
static void add_rules(const struct level *level, int is_64) {
    add((struct sock_filter)LOAD(nr));
    add((struct sock_filter)JUMP(BPF_JGE, is_64 ? level->first_64 : level->first_32, 0, 1));
    add((struct sock_filter)REFUSE(ENOSYS));
    for (unsigned i = 0; i < sizeof younger / sizeof *younger; i++) {
        if (younger[i].since <= level->version)
            continue;
        int is_flag = younger[i].value == 0;
        add((struct sock_filter)JUMP(BPF_JEQ, is_64 ? younger[i].call_64 : younger[i].call_32, 0, 5));
        add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * younger[i].argument));
        add((struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, younger[i].bits));
        add((struct sock_filter)JUMP(BPF_JEQ, younger[i].value, is_flag, !is_flag));
        add((struct sock_filter)REFUSE(younger[i].error));
        add((struct sock_filter)LOAD(nr));
    }
    add((struct sock_filter)ANSWER(SECCOMP_RET_ALLOW));
}

int main(int argc, char **argv) {
    const struct level *level = NULL;
    for (unsigned i = 0; argc > 2 && i < sizeof levels / sizeof *levels; i++)
        if (strcmp(argv[1], levels[i].name) == 0)
            level = &levels[i];
    if (level == NULL) {
        fprintf(stderr, "usage: launcher 2.6.18|2.6.32|3.2|3.10|4.4 PROGRAM [ARGUMENT...]\n");
        return 64;
    }
    add((struct sock_filter)LOAD(arch));
    add((struct sock_filter)JUMP(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0));
    unsigned to_32 = length;
    add((struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0));
    add_rules(level, 1);
    program[to_32].k = length - to_32 - 1;
    add_rules(level, 0);

    struct sock_fprog list = {.len = (unsigned short)length, .filter = program};
    /* Root needs no such promise, and the program is to make it itself. */
    if (geteuid() != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return perror("launcher: no_new_privs"), 71;
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &list) != 0)
        return perror("launcher: no filter"), 71;
    execv(argv[2], argv + 2);
    perror(argv[2]);
    return 127;
}
