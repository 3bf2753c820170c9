//! Files that appear whole or not at all.
//!
//! Content goes to a temporary file in the same folder, which is flushed to the disk and renamed
//! over the target. When anything fails (no disk space, a killed process), what the target held
//! before is still there. A failed write leaves no temporary file; what a killed process leaves is
//! removed when the same file is written again.

use std::io::{BufWriter, Write};
use std::path::Path;

use finezip_core::partial;

use crate::error::{Error, Result};

/// Writes `path` through `write`, replacing what is there only when all of it has been written.
///
/// # Errors
/// [`Error::Io`] with `path`.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.");
    let attempt = || -> std::io::Result<()> {
        partial::remove_abandoned(folder, &prefix, ".partial");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".partial");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The umask takes its share, as for any new file.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut temporary = builder.tempfile_in(folder)?;
        while !partial::claim(temporary.as_file(), temporary.path())? {
            temporary = builder.tempfile_in(folder)?;
        }
        let mut buffered = BufWriter::new(temporary.as_file_mut());
        write(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|error| error.error)?;
        // The rename itself is safe on the disk once the folder is. The file is there already, and
        // some file systems flush no folders.
        #[cfg(unix)]
        if let Ok(folder) = std::fs::File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    };
    attempt().map_err(|source| Error::io(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write_atomically(&path, |file| file.write_all(b"good")).unwrap();
        let error = write_atomically(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(error.unwrap_err().to_string().contains("state"));
        assert_eq!(std::fs::read(&path).unwrap(), b"good");
        std::fs::write(folder.path().join(".state.killed.partial"), b"half").unwrap();
        write_atomically(&path, |file| file.write_all(b"good")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
