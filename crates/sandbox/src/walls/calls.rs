//! Which system calls are refused. All others are allowed: interpreters use hundreds, and what matters is few.
//!
//! * Sockets other than IPv4 and IPv6, and without the network all of them; pairs of sockets stay.
//! * Ways out of the walls: other processes' memory, limits and scheduling, name spaces, mounts, kernel modules, keys,
//!   io_uring (whose operations no filter sees), tracing.
//! * What Landlock does not cover: modes, owners, attributes, times, leases and file system controls. By path and by
//!   descriptor: Landlock lets code read files that are not its own (its interpreter's), and checks nothing at all when
//!   a file is opened for neither reading nor writing (access mode 3), which is refused with them.
//! * Processes, where none may be started; leaving the process group or being a reaper, where they may, because they are
//!   counted and killed as one.
//! * Memory and open files that can't be counted from outside.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use super::{Confinement, Standing};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Refused to everyone.
const NEVER: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_personality,
    libc::SYS_fanotify_init,
    libc::SYS_mknodat,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_semget,
    libc::SYS_msgget,
    libc::SYS_mq_open,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_ioprio_set,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_memfd_create,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_utimensat,
];

/// Newer than the tables of some libraries; the numbers are the same on all of our machines.
const NEWER: &[i64] = &[
    447, // memfd_secret
    448, // process_mrelease
    452, // fchmodat2
    463, // setxattrat
    466, // removexattrat
    467, // open_tree_attr
    469, // file_setattr
];

/// Refused unless they are about the process itself, which is 0 in their first argument.
const OWN: &[i64] = &[
    libc::SYS_prlimit64,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
];

/// Types of ioctls that change files and file systems: common ones (ext4's), XFS's, those of Btrfs.
const FILE_SYSTEM_IOCTLS: [u64; 3] = [0x66, 0x58, 0x94];

#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_mknod,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

#[cfg(target_arch = "x86_64")]
const FORKS: &[i64] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const FORKS: &[i64] = &[];

/// Signals to processes by their id, for kernels whose Landlock does not keep them inside.
const SIGNALS: &[i64] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
];

/// Whether filters can be made for this machine's processor.
pub(crate) fn is_supported() -> bool {
    TargetArch::try_from(std::env::consts::ARCH).is_ok()
}

/// The filters of a confinement. There are few of them, and each takes some hundred rules to build: they are kept.
pub(crate) fn filters(confinement: &Confinement, standing: &Standing) -> io::Result<Vec<BpfProgram>> {
    type Known = BTreeMap<(bool, bool, i32), Vec<BpfProgram>>;
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    let of = (confinement.network, confinement.processes, standing.landlock);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(filters) = known.get(&of) {
        return Ok(filters.clone());
    }
    let filters = build(confinement, standing)?;
    known.insert(of, filters.clone());
    Ok(filters)
}

/// Looks at nothing but what [`filters`] tells them apart by.
fn build(confinement: &Confinement, standing: &Standing) -> io::Result<Vec<BpfProgram>> {
    let never = NEVER.iter().chain(NEWER).chain(OLD);
    let mut rules: Rules = never.map(|call| (*call, Vec::new())).collect();
    // All bits are compared, also those that the kernel passes over.
    rules.extend(
        OWN.iter()
            .map(|call| Ok((*call, vec![rule(&[(0, SeccompCmpOp::Ne, 0)])?])))
            .collect::<io::Result<Rules>>()?,
    );
    // Of a process (0) and only of its own (0).
    let own_priority = vec![rule(&[(0, SeccompCmpOp::Ne, 0)])?, rule(&[(1, SeccompCmpOp::Ne, 0)])?];
    rules.insert(libc::SYS_setpriority, own_priority);
    let controls: io::Result<_> = FILE_SYSTEM_IOCTLS
        .iter()
        .map(|kind| rule(&[(1, SeccompCmpOp::MaskedEq(0xff00), kind << 8)]))
        .collect();
    rules.insert(libc::SYS_ioctl, controls?);
    // Whoever asks for a lease holds up others who open the file.
    let mut commands = vec![libc::F_SETLEASE];
    // Being a reaper is what keeps children in its tree; what can't be dumped can't be looked at.
    let controls = [libc::PR_SET_CHILD_SUBREAPER, libc::PR_SET_DUMPABLE].map(|option| low(0, option as u64));
    rules.insert(libc::SYS_prctl, controls.into_iter().collect::<io::Result<_>>()?);
    // Open files are counted once a process.
    rules.insert(libc::SYS_close_range, vec![rule(&[(2, SeccompCmpOp::MaskedEq(2), 2)])?]);
    let families = [libc::AF_INET as u64, libc::AF_INET6 as u64];
    let other = families.map(|family| (0, SeccompCmpOp::Ne, family));
    rules.insert(libc::SYS_socket, if confinement.network { vec![rule(&other)?] } else { Vec::new() });
    rules.insert(libc::SYS_clone, clones(confinement)?);
    if !confinement.processes {
        rules.extend(FORKS.iter().map(|call| (*call, Vec::new())));
        // Files on their way through a pair of sockets are nobody's.
        rules.extend([libc::SYS_sendmsg, libc::SYS_sendmmsg].map(|call| (call, Vec::new())));
    }
    if standing.landlock < 6 {
        rules.extend(SIGNALS.iter().map(|call| (*call, Vec::new())));
        // Signals that files send.
        commands.extend([libc::F_SETOWN, F_SETOWN_EX]);
        let owners = [FIOSETOWN, SIOCSPGRP].map(|request| low(1, request));
        rules.entry(libc::SYS_ioctl).or_default().extend(owners.into_iter().collect::<io::Result<Vec<_>>>()?);
    }
    let commands: io::Result<_> = commands.into_iter().map(|command| low(1, command as u64)).collect();
    rules.insert(libc::SYS_fcntl, commands?);
    rules.extend(opens(standing.landlock)?);
    // Arguments behind a pointer can't be looked at: callers fall back to what was there before these.
    let missing = [libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_openat2];
    let missing = missing.map(|call| (call, Vec::new())).into();
    Ok(vec![compile(rules, libc::EPERM)?, compile(missing, libc::ENOSYS)?])
}

const F_SETOWN_EX: i32 = 15;
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;

/// Which new processes and threads are refused.
fn clones(confinement: &Confinement) -> io::Result<Vec<SeccompRule>> {
    let thread = libc::CLONE_THREAD as u64;
    // Threads with open files of their own are refused to everyone.
    let apart = rule(&[(0, SeccompCmpOp::MaskedEq(thread | libc::CLONE_FILES as u64), thread)]);
    if !confinement.processes {
        return [apart, rule(&[(0, SeccompCmpOp::MaskedEq(thread), 0)])].into_iter().collect();
    }
    let spaces = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    let spaces = spaces.map(|flag| flag as u64);
    let spaces = spaces.iter().map(|flag| rule(&[(0, SeccompCmpOp::MaskedEq(*flag), *flag)]));
    spaces.chain([apart]).collect()
}

/// How no file may be opened, and what Landlock's first two versions don't ask about.
fn opens(landlock: i32) -> io::Result<Rules> {
    let mode = libc::O_ACCMODE as u64;
    let emptied = libc::O_TRUNC as u64;
    let refused = |flags: u8| -> io::Result<Vec<SeccompRule>> {
        let mut rules = vec![rule(&[(flags, SeccompCmpOp::MaskedEq(mode), mode)])?];
        if landlock < 3 {
            // Opened for reading, and emptied.
            rules.push(rule(&[(flags, SeccompCmpOp::MaskedEq(mode | emptied), emptied)])?);
        }
        Ok(rules)
    };
    let mut rules = Rules::from([(libc::SYS_openat, refused(2)?)]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, refused(1)?);
    if landlock < 3 {
        rules.insert(libc::SYS_truncate, Vec::new());
    }
    Ok(rules)
}

/// Matches an argument of which the kernel looks at the lower half.
fn low(index: u8, value: u64) -> io::Result<SeccompRule> {
    rule(&[(index, SeccompCmpOp::MaskedEq(u64::from(u32::MAX)), value)])
}

/// Matches when all arguments do.
fn rule(arguments: &[(u8, SeccompCmpOp, u64)]) -> io::Result<SeccompRule> {
    let conditions: Result<_, _> = arguments
        .iter()
        .map(|(index, operator, value)| {
            SeccompCondition::new(*index, SeccompCmpArgLen::Qword, operator.clone(), *value)
        })
        .collect();
    SeccompRule::new(conditions.map_err(io::Error::other)?).map_err(io::Error::other)
}

fn compile(rules: Rules, errno: i32) -> io::Result<BpfProgram> {
    let machine = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let refuse = SeccompAction::Errno(errno as u32);
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, machine).map_err(io::Error::other)?;
    let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    Ok(no_other_numbers().into_iter().chain(program).collect())
}

/// x86-64's second set of numbers for the same calls, which the filters don't know: refused as a whole.
fn no_other_numbers() -> Vec<sock_filter> {
    if cfg!(not(target_arch = "x86_64")) {
        return Vec::new();
    }
    let refuse = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let instruction = |code: u32, jf: u8, k: u32| sock_filter { code: code as u16, jt: 0, jf, k };
    vec![
        // The call's number stands first.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, 0x4000_0000),
        instruction(libc::BPF_RET | libc::BPF_K, 0, refuse),
    ]
}
