// SPDX-License-Identifier: GPL-2.0
/*
 * What the settings of the dmesg compressor cost and save: the kernel's own
 * zlib, and libzstd of the same version as the kernel's, on a kernel log cut
 * into chunks of whole lines. Time is given in rdtsc ticks, which are
 * instructions under `qemu -icount shift=0`. See the script `run`.
 *
 *	measure LOG
 */
#include <linux/zlib.h>
#include <linux/zutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>
#include <x86intrin.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#define TEXT_MAX 65536
static unsigned char text[TEXT_MAX + 1], out[2 * TEXT_MAX];
static size_t len;

/* Start of the longest tail of whole lines in text[0..end) of at most `size`. */
static size_t chunk_start(size_t end, size_t size)
{
	size_t at = end > size ? end - size : 0;

	while (at > 0 && at < end && text[at - 1] != '\n')
		at++;
	return at < end ? at : end - (end < size ? end : size);
}

static size_t deflate_one(void *work, int level, int wbits, int mem, const unsigned char *in,
			  size_t n, int flush)
{
	z_stream s = { .workspace = work };

	if (zlib_deflateInit2(&s, level, Z_DEFLATED, -wbits, mem, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	s.next_in = in;
	s.avail_in = n;
	s.next_out = out;
	s.avail_out = sizeof(out);
	if (zlib_deflate(&s, flush) != (flush == Z_FINISH ? Z_STREAM_END : Z_OK) || s.avail_in)
		abort();
	return sizeof(out) - s.avail_out;
}

static void row(const char *name, size_t chunk, size_t memory, size_t total, unsigned long long t)
{
	printf("| %s | %zu | %zu | %zu | %.2f | %.0f |\n", name, chunk, memory, total,
	       (double)len / total, (double)t / len);
}

static void zlib_row(int level, int wbits, int mem, size_t chunk, int flush)
{
	size_t size = zlib_deflate_workspacesize(-wbits, mem), total = 0, end, start;
	void *work = calloc(1, size);
	unsigned long long t = 0;
	char name[64];

	for (end = len; end > 0; end = start) {
		unsigned long long t0;

		start = chunk_start(end, chunk);
		t0 = __rdtsc();
		total += deflate_one(work, level, wbits, mem, text + start, end - start, flush);
		t += __rdtsc() - t0;
	}
	snprintf(name, sizeof(name), "deflate level %d window %d memLevel %d%s", level, wbits, mem,
		 flush == Z_FINISH ? ", in one" : "");
	row(name, chunk, size, total, t);
	free(work);
}

static void zstd_row(int level, size_t chunk)
{
	ZSTD_parameters p = ZSTD_getParams(level, chunk, 0);
	size_t size = ZSTD_estimateCCtxSize_usingCParams(p.cParams), total = 0, end, start;
	void *work;
	unsigned long long t = 0;
	ZSTD_CCtx *c;
	char name[64];

	work = malloc(size);
	c = ZSTD_initStaticCCtx(work, size);
	if (!c)
		abort();
	for (end = len; end > 0; end = start) {
		unsigned long long t0;
		size_t n;

		start = chunk_start(end, chunk);
		t0 = __rdtsc();
		n = ZSTD_compress_advanced(c, out, sizeof(out), text + start, end - start, NULL, 0, p);
		t += __rdtsc() - t0;
		if (ZSTD_isError(n)) {
			printf("zstd: %s\n", ZSTD_getErrorName(n));
			break;
		}
		total += n;
	}
	snprintf(name, sizeof(name), "zstd level %d", level);
	row(name, chunk, size, total, t);
	free(work);
}

int main(int argc, char **argv)
{
	static const size_t chunks[] = { 1024, 2048, 4096, 6144 };
	static const int levels[] = { 1, 3, 4, 6 };
	static const int zlevels[] = { -1, 1, 3 };
	FILE *f = fopen(getpid() == 1 ? "/log" : argc > 1 ? argv[1] : "/dev/stdin", "r");
	unsigned int i, l;

	if (!f)
		return 1;
	len = fread(text, 1, TEXT_MAX, f);
	fclose(f);
	printf("%zu bytes of kernel log\n\n", len);
	printf("| setting | chunk | workspace | stored | ratio | instructions per byte |\n");
	printf("| --- | --- | --- | --- | --- | --- |\n");
	/* As the in-tree pstore does it. */
	zlib_row(6, 15, 8, len, Z_FINISH);
	for (l = 0; l < sizeof(levels) / sizeof(*levels); l++)
		for (i = 0; i < sizeof(chunks) / sizeof(*chunks); i++)
			zlib_row(levels[l], 12, 5, chunks[i], Z_FULL_FLUSH);
	zlib_row(3, 11, 5, 6144, Z_FULL_FLUSH);
	zlib_row(3, 13, 5, 6144, Z_FULL_FLUSH);
	zlib_row(3, 12, 4, 6144, Z_FULL_FLUSH);
	zlib_row(3, 12, 6, 6144, Z_FULL_FLUSH);
	zlib_row(3, 13, 6, 8192, Z_FULL_FLUSH);
	zlib_row(6, 15, 8, 8192, Z_FULL_FLUSH);
	for (l = 0; l < sizeof(zlevels) / sizeof(*zlevels); l++)
		for (i = 0; i < sizeof(chunks) / sizeof(*chunks); i++)
			zstd_row(zlevels[l], chunks[i]);
	fflush(stdout);
	if (getpid() == 1) {
		sleep(1);
		reboot(RB_AUTOBOOT);
	}
	return 0;
}
