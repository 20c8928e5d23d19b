/*
 * Where a program begins that cross/build makes with Debian's musl: relocates itself by DT_RELR, then goes on in musl's own
 * start code, which knows DT_RELA but, before 1.2.4, not DT_RELR. An address to be relocated costs two bits instead of 24 bytes, and
 * the program has more than two thousand: 57 KB.
 *
 * Until this has run no address in the program's data is right, and nothing here may use one. Sources: the gABI on DT_RELR;
 * the processors' psABIs on what stands in registers when a program is entered.
 */

#include <elf.h>
#include <stddef.h>

/* Both are found by their distance from here. */
extern __attribute__((visibility("hidden"))) char __ehdr_start[];
extern __attribute__((visibility("hidden"))) size_t _DYNAMIC[];

/* As DT_RELRSZ and DT_RELR, which musl's elf.h does not have yet; and of how many words an odd entry tells. */
enum { RELR_BYTES = 35, RELR = 36, WORDS = 8 * sizeof(size_t) - 1 };

__attribute__((used)) static void relocate(void)
{
    size_t base = (size_t)__ehdr_start, count = 0;
    const size_t *entries = NULL;
    for (size_t *tag = _DYNAMIC; tag[0] != DT_NULL; tag += 2) {
        if (tag[0] == RELR)
            entries = (const size_t *)(base + tag[1]);
        if (tag[0] == RELR_BYTES) {
            count = tag[1] / sizeof(size_t);
            tag[1] = 0; /* a musl that does know it has nothing left to do */
        }
    }

    /* An even entry says where a word to be relocated is. An odd one has a bit for each of the WORDS that follow. */
    size_t *word = NULL;
    for (; count > 0; count--, entries++) {
        if (*entries % 2 == 0) {
            word = (size_t *)(base + *entries);
            *word++ += base;
            continue;
        }
        for (size_t i = 0; i < WORDS; i++)
            if (*entries >> (i + 1) & 1)
                word[i] += base;
        word += WORDS;
    }
}

/* The stack is as the kernel left it, aligned for a call; musl takes nothing but the stack pointer. */
__asm__(".globl relocate_and_start\nrelocate_and_start:\n\tcall relocate\n\tjmp _start\n");
