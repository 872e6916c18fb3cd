/* SPDX-License-Identifier: GPL-2.0 */
static inline unsigned int bitrev32(unsigned int x)
{
	unsigned int r = 0, i;

	for (i = 0; i < 32; i++, x >>= 1)
		r = r << 1 | (x & 1);
	return r;
}
