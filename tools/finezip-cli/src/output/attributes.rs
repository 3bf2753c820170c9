//! What a finished file has of the file it was made from: times, permissions, group and owner.

use std::fs::{File, FileTimes, Metadata};
use std::io;

/// Gives a finished file the permissions and times of the file it was made from, as far as whoever
/// runs this may.
pub(super) fn take_attributes(file: &File, source: Option<&Metadata>) -> io::Result<()> {
    let Some(source) = source.filter(|source| source.is_file()) else { return Ok(()) };
    let mut times = FileTimes::new();
    if let Ok(modified) = source.modified() {
        times = times.set_modified(modified);
    }
    if let Ok(accessed) = source.accessed() {
        times = times.set_accessed(accessed);
    }
    // Where times cannot be set, permissions can.
    let permissions = take_permissions(file, source);
    file.set_times(times).and(permissions)
}

/// Gives a file the group, the permissions and, for root, the owner of another.
#[cfg(unix)]
fn take_permissions(file: &File, source: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let (owner, group) = (Some(source.uid()), Some(source.gid()));
    // Only root gives files to others; to a group, whoever is in it.
    let given = fchown(file, owner, group).or_else(|_| fchown(file, None, group));
    let mode = mode_under(source.permissions().mode(), given.is_ok());
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn take_permissions(file: &File, source: &Metadata) -> io::Result<()> {
    file.set_permissions(source.permissions())
}

/// The permissions of a file made from one with `mode`, in the same group or in another one: who is
/// not the owner may have been in the group or not, and is allowed there what both were. Nor is it
/// to run as its owner for others.
#[cfg(unix)]
fn mode_under(mode: u32, same_group: bool) -> u32 {
    let both = (mode >> 3) & mode & 0o007;
    if same_group { mode & 0o777 } else { (mode & 0o700) | (both << 3) | both }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn in_another_group_all_are_allowed_what_both_group_and_others_were() {
        for (mode, same, other) in [
            (0o100_640, 0o640, 0o600),
            (0o100_604, 0o604, 0o600),
            (0o100_657, 0o657, 0o655),
            (0o106_755, 0o755, 0o755),
            (0o100_400, 0o400, 0o400),
        ] {
            assert_eq!(mode_under(mode, true), same, "{mode:o}");
            assert_eq!(mode_under(mode, false), other, "{mode:o}");
        }
    }
}
