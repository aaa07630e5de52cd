//! Which system calls are refused. All others are allowed: interpreters use hundreds, and what matters is few.
//!
//! * Sockets other than IPv4 and IPv6, and without the network all of them; pairs of sockets stay.
//! * Ways out of the walls: other processes' memory, name spaces, mounts, kernel modules, keys, io_uring (whose
//!   operations no filter sees), tracing.
//! * What Landlock does not cover: modes, owners, attributes and times of files by path. By descriptor they stay, and a
//!   descriptor needs a file that Landlock lets the process open.
//! * Processes, where none may be started; leaving the process group, where they may, because it is killed as one.

use std::collections::BTreeMap;
use std::io;

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
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
];

/// Newer than the table of some libraries; the number is the same on all of our machines.
const SYS_FCHMODAT2: i64 = 452;

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

/// The filters of a confinement.
pub(crate) fn filters(confinement: &Confinement, standing: &Standing) -> io::Result<Vec<BpfProgram>> {
    let mut rules: Rules = NEVER.iter().chain(OLD).map(|call| (*call, Vec::new())).collect();
    // With no path it is about an open file.
    rules.insert(libc::SYS_utimensat, vec![rule(&[(1, SeccompCmpOp::Ne, 0)])?]);
    let families = [libc::AF_INET as u64, libc::AF_INET6 as u64];
    let other = families.map(|family| (0, SeccompCmpOp::Ne, family));
    rules.insert(libc::SYS_socket, if confinement.network { vec![rule(&other)?] } else { Vec::new() });
    if confinement.processes {
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
        let clone: io::Result<_> =
            spaces.iter().map(|flag| rule(&[(0, SeccompCmpOp::MaskedEq(*flag), *flag)])).collect();
        rules.insert(libc::SYS_clone, clone?);
    } else {
        let thread = libc::CLONE_THREAD as u64;
        rules.insert(libc::SYS_clone, vec![rule(&[(0, SeccompCmpOp::MaskedEq(thread), 0)])?]);
        rules.extend(FORKS.iter().map(|call| (*call, Vec::new())));
        // Memory that no address space counts.
        rules.insert(libc::SYS_memfd_create, Vec::new());
    }
    if standing.landlock < 6 {
        rules.extend(SIGNALS.iter().map(|call| (*call, Vec::new())));
    }
    if standing.landlock < 3 {
        rules.insert(libc::SYS_truncate, Vec::new());
    }
    // Arguments behind a pointer can't be looked at: callers fall back to what was there before these.
    let missing = [libc::SYS_clone3, libc::SYS_io_uring_setup].map(|call| (call, Vec::new())).into();
    Ok(vec![compile(rules, libc::EPERM)?, compile(missing, libc::ENOSYS)?])
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
