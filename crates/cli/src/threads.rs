//! How long the engine's threads stay awake while they wait for each other.
//!
//! They meet at a barrier after every operation, some hundred times a token. OpenMP's runtime lets who comes first turn in
//! a loop of 300,000 rounds before it sleeps. On an idle machine nobody notices: the others are there in microseconds. But
//! where another program holds a core for a moment, be it this server's own answer on its way or its client, the waiting
//! thread keeps the core that the missing one could go on with, and a prompt of 20 tokens that takes 40 ms took seconds. A
//! few hundred rounds cover the wait of an idle machine, and then the core is free.
//!
//! The runtime reads this once, when it is loaded and before `main`: so the program starts itself again with it.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

const SPINS: (&str, &str) = ("GOMP_SPINCOUNT", "500");
/// Whoever sets one of these has decided for themselves.
const DECIDED: [&str; 2] = [SPINS.0, "OMP_WAIT_POLICY"];

/// Starts this program again with the setting, in the same process, unless there is one. Where that can't be done it goes
/// on as it is.
pub(crate) fn settle() {
    if DECIDED.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else { return };
    // Returns only when it failed.
    let _ = Command::new(program).arg0(name).args(arguments).env(SPINS.0, SPINS.1).exec();
}

/// The variable that [`settle`] set and that other programs shall not inherit, if it did.
pub(crate) fn own_variable() -> Option<String> {
    (std::env::var_os(SPINS.0).as_deref() == Some(OsStr::new(SPINS.1))).then(|| SPINS.0.to_owned())
}
