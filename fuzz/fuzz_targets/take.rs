// SPDX-License-Identifier: GPL-2.0

//! The parameters of a target are its input's last bytes, so that an image with some bytes behind
//! it is an input.

/// The image and `N` bytes.
pub(crate) fn take<const N: usize>(data: &[u8]) -> Option<(&[u8], [u8; N])> {
    data.split_last_chunk::<N>()
        .map(|(image, last)| (image, *last))
}
