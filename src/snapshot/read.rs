//! Reading a snapshot: all of it is looked at before any of it counts.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use prost::Message as _;
use ring::digest::{Context, SHA256};

use super::header::{Fit, Header, Selection};
use super::record::{self, Record};
use super::{CHECKSUM_OCTETS, MAGIC, RECORD_OCTETS_MAX, VERSION};
use crate::model::{Kept, Visibility};

/// Octets that are read at a time.
const BUFFER_OCTETS: usize = 64 * 1024;

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("there is none yet")]
    Missing,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    /// It is something else.
    #[error("it is no snapshot of podzone")]
    Other,
    /// It is of another version of the format.
    #[error("its format has the version {0}, and this podzone reads {VERSION}")]
    Version(u32),
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It is of another cluster.
    #[error("it is of another cluster: {theirs}, and not {ours}")]
    OtherCluster {
        /// Where that one's API is.
        theirs: String,
        /// Where the wanted one's is.
        ours: String,
    },
    /// It does not hold what is wanted.
    #[error("it is of another configuration: {0}")]
    OtherSelection(String),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends too soon"),
            _ => Self::Io(error),
        }
    }
}

/// A snapshot that was looked at, and is whole.
#[derive(Debug)]
pub struct Snapshot {
    /// What it is of.
    pub header: Header,
    /// How many records there are behind the header.
    pub records: u64,
    file: File,
    fit: Fit,
}

impl Snapshot {
    /// Looks through a file, which is to be of this cluster, and to hold at least this selection.
    ///
    /// # Errors
    /// [`Refused`] where it is not, or is not whole.
    pub fn open(path: &Path, cluster: &str, selection: Selection<'_>) -> Result<Self, Refused> {
        // Opening a pipe would wait for who writes into it.
        if !std::fs::metadata(path)?.is_file() {
            return Err(Refused::Other);
        }
        let file = File::open(path)?;
        let mut records = Records::begin(&file)?;
        let header = records.header()?;
        let mut count = 0;
        while let Some(octets) = records.next()? {
            record::decode(octets).ok_or(Refused::Damaged("a record cannot be read"))?;
            count += 1;
        }
        records.end()?;
        if header.cluster != cluster {
            return Err(Refused::OtherCluster { theirs: header.cluster, ours: cluster.to_owned() });
        }
        let fit = header.fit(selection).map_err(Refused::OtherSelection)?;
        Ok(Self { header, records: count, file, fit })
    }

    /// Gives all records to `each`, in their order.
    ///
    /// # Errors
    /// If the file has changed since it was looked at; what was given then does not count.
    pub fn each(self, mut each: impl FnMut(Record)) -> Result<(), Refused> {
        let mut records = Records::begin(&self.file)?;
        records.header()?;
        while let Some(octets) = records.next()? {
            each(match record::decode(octets).ok_or(Refused::Damaged("a record cannot be read"))? {
                Record::Kept(kept) => Record::Kept(Box::new(self.fitted(*kept))),
                gone @ Record::Gone(..) => gone,
            });
        }
        records.end()
    }

    /// The object, with the filters and selectors of now.
    fn fitted(&self, kept: Kept) -> Kept {
        let selected = self.fit.selected(kept.selected());
        let visible = Visibility::from_bits(self.fit.visible(kept.visible.bits()));
        Kept { visible, ..kept }.with_selected(selected)
    }
}

/// The records of a file, from its beginning to its end.
struct Records<'f> {
    reader: BufReader<&'f File>,
    /// Octets before the checksum that are not read yet.
    left: u64,
    digest: Context,
    record: Vec<u8>,
}

impl<'f> Records<'f> {
    fn begin(mut file: &'f File) -> Result<Self, Refused> {
        let octets = file.metadata()?.len();
        file.seek(SeekFrom::Start(0))?;
        let left = octets.checked_sub(CHECKSUM_OCTETS as u64);
        let reader = BufReader::with_capacity(BUFFER_OCTETS, file);
        let mut records =
            Self { reader, left: left.unwrap_or_default(), digest: Context::new(&SHA256), record: Vec::new() };
        records.take(MAGIC.len()).map_err(|_| Refused::Other)?;
        if records.record != MAGIC {
            return Err(Refused::Other);
        }
        let version: [u8; 4] = records.take(4)?.try_into().map_err(|_| Refused::Other)?;
        match u32::from_be_bytes(version) {
            VERSION => Ok(records),
            other => Err(Refused::Version(other)),
        }
    }

    /// So many octets more.
    fn take(&mut self, octets: usize) -> Result<&[u8], Refused> {
        self.left = self.left.checked_sub(octets as u64).ok_or(Refused::Damaged("it ends too soon"))?;
        self.record.resize(octets, 0);
        self.reader.read_exact(&mut self.record)?;
        self.digest.update(&self.record);
        Ok(&self.record)
    }

    fn header(&mut self) -> Result<Header, Refused> {
        let octets = self.next()?.ok_or(Refused::Damaged("it has no header"))?;
        Header::decode(octets).map_err(|_| Refused::Damaged("its header cannot be read"))
    }

    /// The next record; `None` behind the last.
    fn next(&mut self) -> Result<Option<&[u8]>, Refused> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut length: usize = 0;
        for shift in (0..32).step_by(7) {
            let octet = self.take(1)?.first().copied().unwrap_or_default();
            length |= usize::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                break;
            }
        }
        // A length that is none would have us take all memory.
        if length > RECORD_OCTETS_MAX {
            return Err(Refused::Damaged("a record is too long"));
        }
        self.take(length).map(Some)
    }

    /// Compares the checksum.
    fn end(mut self) -> Result<(), Refused> {
        let mut checksum = [0; CHECKSUM_OCTETS];
        self.reader.read_exact(&mut checksum)?;
        if !self.reader.fill_buf()?.is_empty() {
            return Err(Refused::Damaged("it goes on behind its end"));
        }
        let digest = self.digest.finish();
        if digest.as_ref() == checksum { Ok(()) } else { Err(Refused::Damaged("its checksum is wrong")) }
    }
}
