//! A disk in memory that fails on purpose, for tests of the log and of whoever builds on it.
//!
//! It keeps what was synced and what was only written apart, so that a crash can lose or tear the latter.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{File, Files};

/// Unsynced data survives a crash in pieces of this size.
const SECTOR: usize = 512;

/// What a crash does to data that was written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// All of it is lost.
    Forget,
    /// Each sector is kept or lost, as a generator with this seed says; what is lost reads as it was, or as zeros.
    Tear(u64),
    /// All of it is kept: the process died, the machine did not.
    Keep,
}

#[derive(Debug, Clone, Default)]
struct Contents {
    written: Vec<u8>,
    synced: Vec<u8>,
    /// What the next sync makes durable.
    dirty: Vec<Range<usize>>,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<String, Contents>,
    /// Names that survive a crash.
    names: BTreeMap<String, Contents>,
    capacity: Option<usize>,
    fail_write: Option<(u32, usize)>,
    fail_sync: Option<u32>,
    syncs: u64,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Unreliable {
    inner: Arc<Mutex<Inner>>,
}

impl Unreliable {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on there is room for so many bytes in all (`None`: no limit).
    pub fn capacity(&self, bytes: Option<usize>) {
        self.lock().capacity = bytes;
    }

    /// How many bytes all files have.
    #[must_use]
    pub fn used(&self) -> usize {
        self.lock().used()
    }

    /// The write after `after` more writes fails, having written `bytes` of its data.
    pub fn fail_write(&self, after: u32, bytes: usize) {
        self.lock().fail_write = Some((after, bytes));
    }

    /// The sync after `after` more syncs fails, and forgets what it was to make durable, as kernels do: later syncs
    /// succeed without it.
    pub fn fail_sync(&self, after: u32) {
        self.lock().fail_sync = Some(after);
    }

    /// How many syncs of data have succeeded.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Flips one bit of a file, durably.
    pub fn flip(&self, name: &str, offset: usize, bit: u8) {
        if let Some(contents) = self.lock().files.get_mut(name) {
            for bytes in [&mut contents.written, &mut contents.synced] {
                if let Some(byte) = bytes.get_mut(offset) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
    }

    /// The bytes of a file as a reader sees them now.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().files.get(name).map(|contents| contents.written.clone())
    }

    /// A new disk with what a crash at this moment leaves. The old one goes on as if nothing had happened.
    #[must_use]
    pub fn crash(&self, how: Crash) -> Self {
        let inner = self.lock();
        let mut seed = match how {
            Crash::Forget | Crash::Keep => 0,
            Crash::Tear(seed) => seed | 1,
        };
        // Without a sync of the folder a new name may be lost, and a removed one may come back.
        let names = match how {
            Crash::Keep => inner.files.keys(),
            Crash::Forget | Crash::Tear(_) => inner.names.keys(),
        };
        let survivor = |name: &String| inner.files.get(name).or_else(|| inner.names.get(name));
        let mut files = BTreeMap::new();
        for name in names {
            let Some(contents) = survivor(name) else { continue };
            let left = match how {
                Crash::Forget => contents.synced.clone(),
                Crash::Keep => contents.written.clone(),
                Crash::Tear(_) => tear(contents, &mut seed),
            };
            files.insert(name.clone(), Contents { written: left.clone(), synced: left, dirty: Vec::new() });
        }
        let inner = Inner { names: files.clone(), files, ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }
}

fn tear(contents: &Contents, seed: &mut u64) -> Vec<u8> {
    let longest = contents.written.len().max(contents.synced.len());
    let mut left = Vec::with_capacity(longest);
    for start in (0..longest).step_by(SECTOR) {
        // xorshift: the tests need many different tears, not good ones.
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        let source = if *seed & 1 == 0 { &contents.written } else { &contents.synced };
        let end = (start + SECTOR).min(longest);
        left.extend((start..end).map(|at| source.get(at).copied().unwrap_or(0)));
    }
    // The length is metadata of its own: it may be that of either state.
    if *seed & 2 == 0 {
        left.truncate(contents.synced.len());
    }
    left
}

impl Inner {
    fn used(&self) -> usize {
        self.files.values().map(|contents| contents.written.len()).sum()
    }

    fn contents(&mut self, name: &str) -> io::Result<&mut Contents> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Files for Unreliable {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        if self.lock().files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.lock().files.insert(name.to_owned(), Contents::default());
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.lock().contents(name)?;
        Ok(Box::new(Handle { disk: self.clone(), name: name.to_owned() }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().files.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.names = inner.files.clone();
        Ok(())
    }
}

struct Handle {
    disk: Unreliable,
    name: String,
}

impl File for Handle {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().contents(&self.name)?.written.len() as u64)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let at = offset as usize;
        let grows = (at + bytes.len()).saturating_sub(inner.contents(&self.name)?.written.len());
        let room = inner.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(inner.used()));
        let mut outcome = Ok(());
        let mut take = bytes.len();
        if grows > room {
            take = bytes.len() - (grows - room);
            outcome = Err(io::ErrorKind::StorageFull.into());
        }
        match &mut inner.fail_write {
            Some((0, short)) => {
                take = take.min(*short);
                inner.fail_write = None;
                outcome = Err(io::Error::other("injected: the write failed"));
            }
            Some((after, _)) => *after -= 1,
            None => {}
        }
        let contents = inner.contents(&self.name)?;
        let written = &mut contents.written;
        written.resize(written.len().max(at + take), 0);
        written[at..at + take].copy_from_slice(&bytes[..take]);
        contents.dirty.push(at..at + take);
        outcome
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut inner = self.disk.lock();
        let written = &inner.contents(&self.name)?.written;
        let from = written.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.disk.lock().contents(&self.name)?.written.truncate(size as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        match &mut inner.fail_sync {
            Some(0) => {
                inner.fail_sync = None;
                inner.contents(&self.name)?.dirty.clear();
                return Err(io::Error::other("injected: the sync failed"));
            }
            Some(after) => *after -= 1,
            None => {}
        }
        inner.syncs += 1;
        let contents = inner.contents(&self.name)?;
        contents.synced.resize(contents.written.len(), 0);
        for range in contents.dirty.drain(..) {
            let end = range.end.min(contents.written.len());
            let start = range.start.min(end);
            contents.synced[start..end].copy_from_slice(&contents.written[start..end]);
        }
        Ok(())
    }
}
