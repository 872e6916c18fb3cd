/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DOC: mpstore's index for Kexec HandOver
 *
 * mpstore publishes one subtree, MPSTORE_KHO_NODE_NAME, whose blob is what
 * struct mpstore_kho_header describes. It tells where the records of this kernel
 * and of those before it are. This is an ABI between kernels: whatever changes
 * the meaning of a field, or takes one away, gets another version, and a reader
 * leaves a version that it does not know alone. Fields may be added at the end of
 * each entry without a new version; readers therefore go from entry to entry by
 * the sizes that the blob gives.
 *
 * Numbers are in the machine's byte order. Addresses are physical. Nothing
 * depends on the configuration of a kernel or on a parameter of the module, the
 * page size aside, of which chunks are multiples.
 *
 * Documentation/format-kho.md explains it. src/format/kho.rs is the same in Rust;
 * tests/kho.rs compares the two.
 */
#ifndef MPSTORE_KHO_H
#define MPSTORE_KHO_H

#ifdef __KERNEL__
#include <linux/types.h>
typedef u32 mpstore_kho_u32;
typedef u64 mpstore_kho_u64;
#else
#include <stdint.h>
typedef uint32_t mpstore_kho_u32;
typedef uint64_t mpstore_kho_u64;
#endif

#define MPSTORE_KHO_NODE_NAME "mpstore"
#define MPSTORE_KHO_VERSION 1
/* "MPKO" in a little endian dump */
#define MPSTORE_KHO_MAGIC 0x4f4b504dU

/**
 * struct mpstore_kho_header - what the blob begins with
 * @version: MPSTORE_KHO_VERSION; must be first
 * @header_size: bytes of this header
 * @total_size: bytes of the whole index
 * @magic: MPSTORE_KHO_MAGIC
 * @checksum: CRC-32 of @header_size bytes, with @checksum and @taken as zero
 * @slot_offset: where the first slot begins, from the blob's first byte
 * @slot_size: bytes from one slot to the next
 * @slot_count: how many slots there are; of those whose checksum is right the
 *	one with the highest sequence counts
 * @page_size: page size of the kernel that wrote the index
 * @taken: written by the next kernel: not zero once it has taken the chunks over,
 *	after which they are not to be touched by way of this index
 * @reserved: zero
 */
struct mpstore_kho_header {
	mpstore_kho_u32 version;
	mpstore_kho_u32 header_size;
	mpstore_kho_u64 total_size;
	mpstore_kho_u32 magic;
	mpstore_kho_u32 checksum;
	mpstore_kho_u32 slot_offset;
	mpstore_kho_u32 slot_size;
	mpstore_kho_u32 slot_count;
	mpstore_kho_u32 page_size;
	mpstore_kho_u64 taken;
	mpstore_kho_u64 reserved[2];
};

/**
 * struct mpstore_kho_slot - one version of the tables
 * @checksum: CRC-32 of the slot's bytes from @used_size up to @used_size bytes
 * @used_size: bytes of the slot that mean something
 * @sequence: number of this version
 * @next_number: number of the next generation
 * @generation_offset: where the generations are, from the slot's first byte
 * @generation_size: bytes from one to the next
 * @generation_count: how many there are, oldest first
 * @chunk_offset: where the chunks are, from the slot's first byte
 * @chunk_size: bytes from one to the next
 * @chunk_count: how many there are
 */
struct mpstore_kho_slot {
	mpstore_kho_u32 checksum;
	mpstore_kho_u32 used_size;
	mpstore_kho_u64 sequence;
	mpstore_kho_u64 next_number;
	mpstore_kho_u32 generation_offset;
	mpstore_kho_u32 generation_size;
	mpstore_kho_u32 generation_count;
	mpstore_kho_u32 chunk_offset;
	mpstore_kho_u32 chunk_size;
	mpstore_kho_u32 chunk_count;
};

enum mpstore_kho_kind {
	MPSTORE_KHO_DMESG = 0,
	MPSTORE_KHO_CONSOLE = 1,
	MPSTORE_KHO_PMSG = 2,
	MPSTORE_KHO_FTRACE = 3,
	MPSTORE_KHO_TTY = 4,
};

/**
 * struct mpstore_kho_zones - zones of equal size in a generation's memory
 * @kind: enum mpstore_kho_kind
 * @count: how many there are, zero if none
 * @offset: where the first one begins, from the first byte of the memory
 * @len: bytes of each; the byte format of a zone is that of ramoops
 */
struct mpstore_kho_zones {
	mpstore_kho_u32 kind;
	mpstore_kho_u32 count;
	mpstore_kho_u64 offset;
	mpstore_kho_u64 len;
};

/* The generation was still being written when the entry was. */
#define MPSTORE_KHO_OPEN 1
#define MPSTORE_KHO_ZONES 5
#define MPSTORE_KHO_RELEASE 72

/**
 * struct mpstore_kho_generation - what one run of the recorder left
 * @number: ascending
 * @start_sec: when it began, seconds since the epoch
 * @end_sec: when it ended, zero if that is not known
 * @start_usec: microseconds of @start_sec
 * @end_usec: microseconds of @end_sec
 * @boot_id: /proc/sys/kernel/random/boot_id of its kernel as bytes, or zeros
 * @release: release of its kernel, printable, padded with zeros, at least one
 * @mem_size: bytes of its memory
 * @flags: MPSTORE_KHO_OPEN
 * @ecc_size: parity bytes for each 128 bytes of data, as in ramoops; zero for none
 * @first_chunk: its first chunk; the generation before it ends there
 * @chunk_count: how many chunks it has, at least one. Laid end to end they are its
 *	memory; what is beyond @mem_size is not used
 * @zones: how its memory is divided, in the order of enum mpstore_kho_kind, none
 *	beginning before the one in front of it ends
 */
struct mpstore_kho_generation {
	mpstore_kho_u64 number;
	mpstore_kho_u64 start_sec;
	mpstore_kho_u64 end_sec;
	mpstore_kho_u32 start_usec;
	mpstore_kho_u32 end_usec;
	unsigned char boot_id[16];
	char release[MPSTORE_KHO_RELEASE];
	mpstore_kho_u64 mem_size;
	mpstore_kho_u32 flags;
	mpstore_kho_u32 ecc_size;
	mpstore_kho_u32 first_chunk;
	mpstore_kho_u32 chunk_count;
	struct mpstore_kho_zones zones[MPSTORE_KHO_ZONES];
};

/**
 * struct mpstore_kho_chunk - memory that was preserved as one folio
 * @phys: its physical address, a multiple of @size
 * @size: its size in bytes, a power of two of pages
 */
struct mpstore_kho_chunk {
	mpstore_kho_u64 phys;
	mpstore_kho_u64 size;
};

#endif /* MPSTORE_KHO_H */
