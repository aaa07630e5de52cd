//! From a confinement to what the child applies: everything that allocates or opens files happens here, before the fork.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, Scope,
};
use tokio::process::Command;

use super::apply::{Armour, OwnTmp, user};
use super::{Confinement, Resources, Standing, calls};

/// The newest Landlock this was written for; kernels with an older one enforce what they know.
const LANDLOCK: ABI = ABI::V8;

/// Makes a command start behind the walls that can stand here.
pub(crate) fn arm(command: &mut Command, confinement: &Confinement, standing: &Standing) -> io::Result<()> {
    let ruleset = match standing.landlock {
        ..1 => None,
        _ => ruleset(confinement).map_err(io::Error::other)?,
    };
    let filters = if standing.seccomp { calls::filters(confinement, standing)? } else { Vec::new() };
    let own_tmp = match &confinement.own_tmp {
        Some(folder) if standing.own_tmp => Some(OwnTmp::new(folder)?),
        _ => None,
    };
    Armour { limits: limits(&confinement.resources), own_tmp, ruleset, filters }.wear(command);
    Ok(())
}

/// Tries it: with a program that is nowhere, starting fails at the program, or before it at the name space.
pub(crate) fn can_have_own_tmp() -> bool {
    let Ok(own_tmp) = OwnTmp::new(Path::new("/tmp")) else { return false };
    let mut command = std::process::Command::new("/nowhere/craton");
    let armour = Armour { limits: Vec::new(), own_tmp: Some(own_tmp), ruleset: None, filters: Vec::new() };
    armour.wear_std(&mut command);
    command.spawn().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

impl OwnTmp {
    fn new(folder: &Path) -> io::Result<Self> {
        let (user, group) = user();
        let text = |text: String| CString::new(text).map_err(io::Error::other);
        let folder = CString::new(folder.as_os_str().as_bytes()).map_err(io::Error::other)?;
        // Root needs no name space of users; others are themselves in theirs.
        let user_map = text(format!("{user} {user} 1"))?;
        let group_map = text(format!("{group} {group} 1"))?;
        Ok(Self { folder, maps: (user != 0).then_some([user_map, group_map]) })
    }
}

fn ruleset(confinement: &Confinement) -> Result<Option<OwnedFd>, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?;
    if !confinement.network {
        ruleset = ruleset.handle_access(AccessNet::from_all(LANDLOCK))?;
    }
    let read = AccessFs::from_read(LANDLOCK);
    // Device nodes are for root to make, and ioctls on devices are nobody's business.
    let write =
        AccessFs::from_all(LANDLOCK) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let null: &Path = Path::new("/dev/null");
    let rules = (confinement.read.iter().map(|path| (path.as_path(), read)))
        .chain(confinement.write.iter().map(|path| (path.as_path(), write)))
        .chain([(null, AccessFs::ReadFile | AccessFs::WriteFile)]);
    let created = ruleset
        .create()?
        .add_rules(rules.filter_map(|(path, access)| rule(path, access)).map(Ok::<_, RulesetError>))?;
    Ok(created.into())
}

/// A rule for what is at a path now; none if nothing is.
fn rule(path: &Path, access: BitFlags<AccessFs>) -> Option<PathBeneath<PathFd>> {
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(LANDLOCK) };
    Some(PathBeneath::new(PathFd::new(path).ok()?, access))
}

fn limits(resources: &Resources) -> Vec<(u32, u64, u64)> {
    let Resources { processor_s, address_space_bytes, file_bytes, open_files } = resources;
    let exactly = |resource: u32, most: Option<u64>| most.map(|most| (resource, most, most));
    [
        Some((libc::RLIMIT_CORE, 0, 0)),
        // At the first limit a signal that tells why, at the second the end for those who ignore it.
        processor_s.map(|seconds| (libc::RLIMIT_CPU, seconds, seconds + 1)),
        exactly(libc::RLIMIT_AS, *address_space_bytes),
        exactly(libc::RLIMIT_FSIZE, *file_bytes),
        exactly(libc::RLIMIT_NOFILE, *open_files),
    ]
    .into_iter()
    .flatten()
    .collect()
}
