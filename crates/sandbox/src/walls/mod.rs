//! What a process may do, and which of these walls this machine can build.

#[cfg(target_os = "linux")]
mod apply;
#[cfg(target_os = "linux")]
mod build;
#[cfg(target_os = "linux")]
mod calls;

use std::path::PathBuf;

#[cfg(target_os = "linux")]
pub(crate) use build::arm;

/// What most programs need to start and to tell the time: libraries, time zones, devices without state.
pub const SYSTEM_PATHS: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
];

/// What a process may do.
#[derive(Debug, Clone, Default)]
pub struct Confinement {
    /// Folders and files that it may read and execute. Missing ones are passed over.
    pub read: Vec<PathBuf>,
    /// Folders and files that it may change.
    pub write: Vec<PathBuf>,
    /// Whether it may use IPv4 and IPv6. Other sockets it never may.
    pub network: bool,
    /// Whether it may start processes. They stay in its process group.
    pub processes: bool,
    /// A folder that the process sees as `/tmp`, where [`Standing::own_tmp`]. It must be among those to `write`.
    pub own_tmp: Option<PathBuf>,
    pub resources: Resources,
}

/// What a process may use up; None is no limit.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    pub processor_s: Option<u64>,
    pub address_space_bytes: Option<u64>,
    pub file_bytes: Option<u64>,
    pub open_files: Option<u64>,
}

/// Which walls stand on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The version of Landlock in the kernel; 0 for none. From 1 files are walled off, from 6 signals to the server.
    pub landlock: i32,
    /// Whether system calls are filtered: sockets, processes, changes of modes and owners.
    pub seccomp: bool,
    /// Whether a process can be given a `/tmp` of its own (mount name spaces; most containers have none). No wall: where
    /// it can't, a process just has no `/tmp`.
    pub own_tmp: bool,
}

impl Standing {
    /// Asks the kernel.
    pub fn probe() -> Self {
        #[cfg(target_os = "linux")]
        {
            Self {
                landlock: apply::landlock_version(),
                seccomp: apply::has_seccomp() && calls::is_supported(),
                own_tmp: build::can_have_own_tmp(),
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            Self { landlock: 0, seccomp: false, own_tmp: false }
        }
    }

    /// What does not stand, if anything doesn't.
    pub fn missing(&self) -> Option<String> {
        let files =
            (self.landlock < 1).then_some("the file system is not walled off (the kernel has no Landlock)");
        let calls = (!self.seccomp)
            .then_some("network and processes are not walled off (system calls can't be filtered)");
        let missing: Vec<&str> = files.into_iter().chain(calls).collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }

    pub(crate) fn log(&self, required: bool) {
        match self.missing() {
            None => tracing::info!(
                landlock = self.landlock,
                own_tmp = self.own_tmp,
                "code of agents, flows and functions runs behind all walls: files, network, processes"
            ),
            Some(missing) if required => {
                tracing::warn!(
                    "code of agents, flows and functions is not run on this machine: {missing}. \
                     sandbox.require_walls = false runs it all the same"
                );
            }
            Some(missing) => tracing::warn!(
                "code of agents, flows and functions runs with walls missing, because sandbox.require_walls is false: \
                 {missing}. Run no code of strangers"
            ),
        }
    }
}

/// Nothing to build with: resource limits and walls are Linux's.
#[cfg(not(target_os = "linux"))]
pub(crate) fn arm(_: &mut tokio::process::Command, _: &Confinement, _: &Standing) -> std::io::Result<()> {
    Ok(())
}
