// SPDX-License-Identifier: GPL-2.0

//! Module parameters that hold text, visible in sysfs with their real values.
//!
//! `module!` knows numbers and `bool` only, and hides them from sysfs. Here every parameter is text
//! until its owner parses it, so that lists are possible and a wrong value can be named in full.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use super::context::NoPreempt;
use core::cell::UnsafeCell;
use kernel::{
    error::from_result,
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*,
    str::CStr,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Release, //
    },
};

/// Longest value in bytes.
pub(crate) const MAX: usize = 1024;

/// Is told when a parameter has changed.
pub(crate) trait Watch: Send + Sync {
    /// It has. An error refuses the new value. May sleep.
    fn changed(&self) -> Result;
}

/// Whether the module has started, so that hooks are called.
static LIVE: Atomic<bool> = Atomic::new(false);

/// From now on hooks are called for new values.
pub(crate) fn go_live() {
    LIVE.store(true, Release);
}

/// A parameter's value.
///
/// # Invariants
///
/// `text` is only touched while `busy` is held.
pub(crate) struct Param {
    text: UnsafeCell<([u8; MAX], usize)>,
    busy: Atomic<bool>,
    given: Atomic<bool>,
    changed: Atomic<bool>,
    /// Called with a value written at run time; an error refuses it.
    hook: Option<fn(&[u8]) -> Result>,
}

// SAFETY: By the type invariant, access to `text` is exclusive.
unsafe impl Sync for Param {}

impl Param {
    /// A parameter with a default value.
    pub(crate) const fn new(default: &str, hook: Option<fn(&[u8]) -> Result>) -> Self {
        let (from, mut text, mut n) = (default.as_bytes(), [0; MAX], 0);
        while n < from.len() {
            text[n] = from[n];
            n += 1;
        }
        Self {
            text: UnsafeCell::new((text, n)),
            busy: Atomic::new(false),
            given: Atomic::new(false),
            changed: Atomic::new(false),
            hook,
        }
    }

    /// Whether it was set explicitly.
    pub(crate) fn given(&self) -> bool {
        self.given.load(Acquire)
    }

    /// Whether it was set in any way, if only to its default.
    pub(crate) fn changed(&self) -> bool {
        self.changed.load(Acquire)
    }

    fn locked<R>(&self, f: impl FnOnce(&mut ([u8; MAX], usize)) -> R) -> R {
        // Who waits may be of a higher priority than who is in there, and on the same CPU.
        let _here = NoPreempt::new();
        while self.busy.xchg(true, Full) {
            core::hint::spin_loop();
        }
        // SAFETY: `busy` is held, so by the type invariant access is exclusive.
        let r = f(unsafe { &mut *self.text.get() });
        self.busy.store(false, Release);
        r
    }

    /// Copies the value out, its length beside it. Task context.
    pub(crate) fn value(&self) -> ([u8; MAX], usize) {
        self.locked(|t| *t)
    }

    /// Replaces the value by what is really in force. Task context.
    pub(crate) fn store(&self, value: &[u8]) -> Result {
        self.changed.store(true, Release);
        self.locked(|(text, len)| {
            text.get_mut(..value.len())
                .ok_or(ENOSPC)?
                .copy_from_slice(value);
            *len = value.len();
            Ok(())
        })
    }

    /// Sets it as a user would before the module started.
    pub(crate) fn give(&self, value: &[u8]) -> Result {
        self.store(value)?;
        self.given.store(true, Release);
        Ok(())
    }
}

/// # Safety
///
/// A `set` operation of `kernel_param_ops`: `val` is NULL or a NUL-terminated string, the `arg` of
/// `kp` points to a static [`Param`].
pub(crate) unsafe extern "C" fn set_callback(
    val: *const c_char,
    kp: *const kernel::bindings::kernel_param,
) -> c_int {
    from_result(|| {
        if val.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: By the contract of this function.
        let (val, param) = unsafe {
            (
                CStr::from_char_ptr(val).to_bytes(),
                &*(*kp).__bindgen_anon_1.arg.cast::<Param>(),
            )
        };
        // What `echo` appends.
        let val = val.strip_suffix(b"\n").unwrap_or(val);
        // At load the module itself looks at all values together.
        if let Some(hook) = param.hook.filter(|_| LIVE.load(Acquire)) {
            hook(val)?;
        }
        param.give(val).inspect_err(|_| {
            // SAFETY: By the contract of this function; names are NUL-terminated.
            let name = unsafe { CStr::from_char_ptr((*kp).name) };
            pr_err!("{}: value too long, give at most {} bytes\n", name, MAX);
        })?;
        Ok(0)
    })
}

/// # Safety
///
/// A `get` operation of `kernel_param_ops`: `buffer` has a page, the `arg` of `kp` points to a
/// static [`Param`].
pub(crate) unsafe extern "C" fn get_callback(
    buffer: *mut c_char,
    kp: *const kernel::bindings::kernel_param,
) -> c_int {
    // SAFETY: By the contract of this function.
    let param = unsafe { &*(*kp).__bindgen_anon_1.arg.cast::<Param>() };
    let (text, len) = param.value();
    // SAFETY: A page has room for `MAX + 1` bytes.
    let to = unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>(), len + 1) };
    for (to, from) in to.iter_mut().zip(&text) {
        *to = *from;
    }
    if let Some(last) = to.last_mut() {
        *last = b'\n';
    }
    // NO-OVERFLOW: At most `MAX + 1`.
    (len + 1) as c_int
}

/// The operations of every parameter here.
pub(crate) static OPS: kernel::bindings::kernel_param_ops = kernel::bindings::kernel_param_ops {
    flags: 0,
    set: Some(set_callback),
    get: Some(get_callback),
    free: None,
};

/// Puts a string into `.modinfo`.
///
/// `used(compiler)`, as `module!` has it: a plain `used` of newer compilers marks the section as one
/// that the linker has to keep, and what is marked is not put together with what is not.
#[macro_export]
macro_rules! modinfo {
    ($($part:expr),+ $(,)?) => {
        const _: () = {
            const TEXT: &str = concat!($($part),+, "\0");
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static INFO: [u8; TEXT.len()] = {
                let (mut to, mut n) = ([0; TEXT.len()], 0);
                while n < to.len() {
                    to[n] = TEXT.as_bytes()[n];
                    n += 1;
                }
                to
            };
        };
    };
}

/// Defines parameters: for each a static [`Param`] and its entries for the module loader, and a
/// table `ALL` of names and values.
///
/// An entry reads `name: type, mode, default, hook, "description";`.
#[macro_export]
macro_rules! define_params {
    ($($name:ident: $ty:ident, $mode:literal, $default:literal, $hook:expr, $about:literal;)+) => {
        $(
            #[doc = $about]
            #[allow(non_upper_case_globals)]
            pub(crate) static $name: $crate::sys::param::Param =
                $crate::sys::param::Param::new($default, $hook);

            $crate::modinfo!("parm=", stringify!($name), ":", $about);
            $crate::modinfo!("parmtype=", stringify!($name), ":", stringify!($ty));
            const _: () = {
                #[link_section = "__param"]
                #[used(compiler)]
                static ENTRY: kernel::module_param::KernelParam =
                    kernel::module_param::KernelParam::new(kernel::bindings::kernel_param {
                        name: kernel::str::as_char_ptr_in_const_context(
                            match core::ffi::CStr::from_bytes_with_nul(
                                concat!(stringify!($name), "\0").as_bytes(),
                            ) {
                                Ok(text) => text,
                                Err(_) => panic!("a parameter's name"),
                            },
                        ),
                        mod_: $crate::sys::param::this_module(),
                        ops: &$crate::sys::param::OPS,
                        perm: $mode,
                        level: -1,
                        flags: 0,
                        __bindgen_anon_1: kernel::bindings::kernel_param__bindgen_ty_1 {
                            arg: core::ptr::from_ref(&$name).cast_mut().cast(),
                        },
                    });
            };
        )+

        /// The default of the parameter `name`, empty if there is none.
        pub(crate) fn default_of(wanted: &str) -> &'static str {
            match wanted {
                $(stringify!($name) => $default,)+
                _ => "",
            }
        }

        /// Every parameter by name.
        pub(crate) static ALL: &[(&str, &$crate::sys::param::Param)] =
            &[$((stringify!($name), &$name)),+];
    };
}

/// The module that the parameters belong to, for their entries.
pub(crate) const fn this_module() -> *mut kernel::bindings::module {
    // Only the address is taken: the build makes `__this_module`, and it stays while the module is
    // loaded.
    (&raw const kernel::bindings::__this_module).cast_mut()
}
