//! Writing a snapshot: beside the old one, then in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use prost::Message as _;
use rand::RngExt as _;
use ring::digest::{Context, SHA256};

use super::header::Header;
use super::{MAGIC, VERSION};

/// Why a snapshot was not written.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {error}", path.display())]
pub struct WriteError {
    what: &'static str,
    path: PathBuf,
    error: io::Error,
}

/// A snapshot that is being written. Dropped before it is finished, it leaves nothing.
pub struct Draft {
    path: PathBuf,
    beside: PathBuf,
    file: Option<BufWriter<File>>,
    digest: Context,
    octets: u64,
}

impl Draft {
    /// Begins one that will be at `path`. Its name until then is `path` with `.new-` and a number behind it, so that two
    /// who write to one place do not write into one file.
    ///
    /// # Errors
    /// If a file cannot be made there.
    pub fn begin(path: &Path, header: &Header) -> Result<Self, WriteError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!("{NEW}{:016x}", rand::rng().random::<u64>()));
        let beside = PathBuf::from(beside);
        let file = OpenOptions::new().write(true).create_new(true).open(&beside);
        let file = file.map_err(|error| WriteError { what: "cannot make", path: beside.clone(), error })?;
        let file = Some(BufWriter::new(file));
        let mut draft = Self { path: path.to_owned(), beside, file, digest: Context::new(&SHA256), octets: 0 };
        draft.write(MAGIC)?;
        draft.write(&VERSION.to_be_bytes())?;
        draft.write(&header.encode_length_delimited_to_vec())?;
        Ok(draft)
    }

    /// Writes records, as [`encode`](super::encode) makes them.
    ///
    /// # Errors
    /// If they cannot be written; the draft is then to be dropped.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), WriteError> {
        self.digest.update(octets);
        self.put(octets)
    }

    /// Ends it: it is on the disk and in its place when this returns; gives how many octets it has.
    ///
    /// # Errors
    /// If that cannot be; what was in its place before then is still.
    pub fn finish(mut self) -> Result<u64, WriteError> {
        let digest = self.digest.clone().finish();
        self.put(digest.as_ref())?;
        let Some(file) = self.file.take() else { return Ok(0) };
        let written = file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        written.map_err(|error| self.error("cannot write", error))?;
        std::fs::rename(&self.beside, &self.path).map_err(|error| WriteError {
            what: "cannot replace",
            path: self.path.clone(),
            error,
        })?;
        // The name is in the folder, which is a file too. Where it cannot be opened, the name comes to the disk later.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or_else(|| Path::new("."))) {
            let _ = folder.sync_all();
        }
        Ok(self.octets)
    }

    /// Gives it up, since nothing more comes.
    ///
    /// # Errors
    /// Always: it was not written.
    pub fn abandon<T>(self) -> Result<T, WriteError> {
        Err(self.error("cannot finish", io::Error::other("it was given up")))
    }

    fn put(&mut self, octets: &[u8]) -> Result<(), WriteError> {
        self.octets += octets.len() as u64;
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(octets));
        written.map_err(|error| self.error("cannot write", error))
    }

    fn error(&self, what: &'static str, error: io::Error) -> WriteError {
        WriteError { what, path: self.beside.clone(), error }
    }
}

/// What stands between the name of a snapshot and the number of a draft.
const NEW: &str = ".new-";

impl Drop for Draft {
    fn drop(&mut self) {
        // After it was put in its place there is none.
        let _ = std::fs::remove_file(&self.beside);
    }
}

/// Removes the drafts of a snapshot that a process left which was killed; those that are younger than `age` may be
/// somebody's.
pub fn remove_drafts(path: &Path, age: std::time::Duration) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut start = name.as_encoded_bytes().to_vec();
    start.extend_from_slice(NEW.as_bytes());
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let Some(number) = file.as_encoded_bytes().strip_prefix(&*start) else { continue };
        let is_draft = number.len() == 16 && number.iter().all(u8::is_ascii_hexdigit);
        let changed = entry.metadata().and_then(|meta| meta.modified()).ok();
        let is_old = changed.and_then(|changed| changed.elapsed().ok()).is_some_and(|elapsed| elapsed >= age);
        if is_draft && is_old {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
