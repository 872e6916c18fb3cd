// SPDX-License-Identifier: GPL-2.0

//! Error codes that the `kernel` crate has from Linux 7.3 on.
//!
//! C headers: [`include/uapi/asm-generic/errno.h`](srctree/include/uapi/asm-generic/errno.h)

#[cfg(not(mpstore_before_7_3))]
#[allow(unused_imports)] // Which of them are needed depends on the configuration.
pub(crate) use kernel::error::code::{
    ENAMETOOLONG,
    EOPNOTSUPP,
    ESHUTDOWN,
    ESTALE, //
};

#[cfg(mpstore_before_7_3)]
mod before_7_3 {
    use core::num::NonZeroI32;
    use kernel::{
        bindings,
        error::Error, //
    };

    /// [`Error::from_errno`], which is not `const`.
    const fn code(number: u32) -> Error {
        // CAST: All codes are below 4096.
        let Some(value) = NonZeroI32::new(-(number as i32)) else {
            panic!("an error code of 0");
        };
        assert!(number < bindings::MAX_ERRNO);
        // SAFETY: `Error` has one field and that is a `NonZeroI32`. `transmute` sees to it that it
        // is as large, so the field begins where the struct does. The value is in the range that
        // `Error` promises.
        unsafe { core::mem::transmute::<NonZeroI32, Error>(value) }
    }

    pub(crate) const ENAMETOOLONG: Error = code(bindings::ENAMETOOLONG);
    pub(crate) const EOPNOTSUPP: Error = code(bindings::EOPNOTSUPP);
    pub(crate) const ESHUTDOWN: Error = code(bindings::ESHUTDOWN);
    pub(crate) const ESTALE: Error = code(bindings::ESTALE);
}
#[cfg(mpstore_before_7_3)]
#[allow(unused_imports)]
pub(crate) use before_7_3::{
    ENAMETOOLONG,
    EOPNOTSUPP,
    ESHUTDOWN,
    ESTALE, //
};
