//! What happens in the child between fork and exec, and questions to the kernel: the only unsafe code of this crate.
//!
//! After a fork only calls that are safe in a signal handler may be made: another thread of the server may have held the
//! allocator's lock. So [`Armour`] owns everything ready made, and [`Armour::put_on`] makes system calls and nothing
//! else: no allocation, no lock, no panic.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;

use seccompiler::BpfProgram;
use tokio::process::Command;

/// Everything that a child applies to itself.
pub(crate) struct Armour {
    /// Resource, soft and hard limit.
    pub limits: Vec<(u32, u64, u64)>,
    pub own_tmp: Option<OwnTmp>,
    pub ruleset: Option<OwnedFd>,
    pub filters: Vec<BpfProgram>,
}

/// A folder to be seen as `/tmp`.
pub(crate) struct OwnTmp {
    pub folder: CString,
    /// What stands in `uid_map` and `gid_map`, for users other than root.
    pub maps: Option<[CString; 2]>,
}

impl OwnTmp {
    fn put_on(&self) -> io::Result<()> {
        // SAFETY: plain system calls on strings that `self` owns.
        unsafe {
            let spaces = if self.maps.is_some() { libc::CLONE_NEWUSER } else { 0 } | libc::CLONE_NEWNS;
            check(libc::unshare(spaces).into())?;
            if let Some([users, groups]) = &self.maps {
                put(c"/proc/self/setgroups", c"deny")?;
                put(c"/proc/self/uid_map", users)?;
                put(c"/proc/self/gid_map", groups)?;
            }
            let none = std::ptr::null();
            // What is mounted here must not be seen outside.
            let apart = libc::MS_REC | libc::MS_PRIVATE;
            check(libc::mount(none, c"/".as_ptr(), none, apart, none.cast()).into())?;
            let tmp = c"/tmp".as_ptr();
            check(libc::mount(self.folder.as_ptr(), tmp, none, libc::MS_BIND, none.cast()).into())
        }
    }
}

/// Writes a file of /proc.
fn put(path: &CStr, text: &CStr) -> io::Result<()> {
    let bytes = text.to_bytes();
    // SAFETY: plain system calls on memory that the caller holds.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        check(file.into())?;
        let written = libc::write(file, bytes.as_ptr().cast(), bytes.len());
        libc::close(file);
        check(written as libc::c_long)
    }
}

impl Armour {
    /// Makes the command's child put it on before it runs.
    pub(crate) fn wear(self, command: &mut Command) {
        // SAFETY: `put_on` makes only system calls, as the module says.
        unsafe {
            command.pre_exec(move || self.put_on());
        }
    }

    /// The same for a command of the standard library.
    pub(crate) fn wear_std(self, command: &mut std::process::Command) {
        // SAFETY: as above.
        unsafe {
            command.pre_exec(move || self.put_on());
        }
    }

    fn put_on(&self) -> io::Result<()> {
        // SAFETY: plain system calls on integers and on memory that `self` owns.
        unsafe {
            // Whatever some library opened without saying so; fails on old kernels, where std's own files still close.
            libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
            // If memory runs out, it is this process that the kernel ends, not the server.
            let _ = put(c"/proc/self/oom_score_adj", c"1000");
            if let Some(own_tmp) = &self.own_tmp {
                own_tmp.put_on()?;
            }
            // Root's capabilities, so that exec can't bring them back; fails where there are none.
            for capability in 0..64 as libc::c_ulong {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
            for (resource, soft, hard) in &self.limits {
                let limit = libc::rlimit { rlim_cur: *soft, rlim_max: *hard };
                check(libc::setrlimit(*resource as _, &raw const limit).into())?;
            }
            // What its children leave behind stays among its descendants, where it is counted.
            check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0).into())?;
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
            if let Some(ruleset) = &self.ruleset {
                check(libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0))?;
            }
            for filter in &self.filters {
                let program = libc::sock_fprog {
                    len: filter.len() as u16,
                    // The two structures are the same one, as the kernel has it.
                    filter: filter.as_ptr().cast_mut().cast(),
                };
                let mode = libc::SECCOMP_SET_MODE_FILTER;
                check(libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program))?;
            }
        }
        Ok(())
    }
}

fn check(answer: libc::c_long) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The effective user and group of this process.
pub(crate) fn user() -> (u32, u32) {
    // SAFETY: these calls take nothing and can't fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// The kernel's version of Landlock; 0 for none.
pub(crate) fn landlock_version() -> i32 {
    const VERSION: u32 = 1;
    // SAFETY: asks for a number; no memory is passed.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, VERSION) };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// Whether the kernel filters system calls by their arguments.
pub(crate) fn has_seccomp() -> bool {
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one integer that outlives the call.
    let answer =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    answer == 0
}
