/* SPDX-License-Identifier: GPL-2.0 */
/* What lib/zlib_deflate wants of the kernel. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
#define BUG_ON(x) do { if (x) abort(); } while (0)
#ifndef max
#define max(a, b) ((a) > (b) ? (a) : (b))
#endif
