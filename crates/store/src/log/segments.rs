//! The writing end: which segments there are, appending to the last one, and what a failed write means.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frame::{self, Group, HEADER, Header, MARK};
use super::reader::{Cursor, Next, Reader};
use super::{File, Files, Limits, LogError, is_full};
use crate::{Clock, Fault, Micros};

const SUFFIX: &str = ".log";

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its file name.
    pub name: String,
    /// The position of its first record.
    pub first: u64,
    /// When it was begun: no record in it is older.
    pub created: Micros,
}

/// What readers need to know; shared with them.
#[derive(Debug, Default)]
pub(super) struct View {
    segments: Vec<SegmentInfo>,
    /// The first position that is not durable.
    durable: u64,
    /// Where that position is in the last segment.
    durable_offset: u64,
}

/// The part of a log that any thread may use.
#[derive(Clone)]
pub(super) struct Shared {
    files: Arc<dyn Files>,
    view: Arc<Mutex<View>>,
    longest: u32,
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, View> {
        // The view is only ever replaced by whole values, so it is good even after a panic elsewhere.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self) -> u64 {
        self.view().durable
    }

    pub(super) fn segments(&self) -> Vec<SegmentInfo> {
        self.view().segments.clone()
    }

    pub(super) fn read_from(&self, position: u64) -> Result<Reader, LogError> {
        let view = self.view();
        Reader::new(self.files.clone(), &view.segments, position, view.durable, self.longest)
    }

    /// Copies everything durable into another folder, which should be empty.
    pub(super) fn copy_to(&self, target: &dyn Files) -> Result<(), LogError> {
        let (segments, last_size) = {
            let view = self.view();
            (view.segments.clone(), view.durable_offset)
        };
        let failed = |name: &str, error: std::io::Error| {
            if is_full(&error) { LogError::Full } else { LogError::io("copy", name, &error) }
        };
        for (index, segment) in segments.iter().enumerate() {
            let name = segment.name.as_str();
            let from = self.files.open(name).map_err(|error| failed(name, error))?;
            let size = from.size().map_err(|error| failed(name, error))?;
            let size = if index + 1 == segments.len() { size.min(last_size) } else { size };
            let mut to = target.create(name).map_err(|error| failed(name, error))?;
            copy(&*from, &mut *to, size).map_err(|error| failed(name, error))?;
        }
        target.sync_names().map_err(|error| failed("the folder", error))
    }
}

fn copy(from: &dyn File, to: &mut dyn File, size: u64) -> std::io::Result<()> {
    let mut block = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < size {
        let want = usize::try_from(size - offset).unwrap_or(usize::MAX).min(block.len());
        let read = from.read_at(offset, &mut block[..want])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        to.write_at(offset, &block[..read])?;
        offset += read as u64;
    }
    to.sync()
}

/// The segment that is written to.
struct Active {
    file: Box<dyn File>,
    name: String,
    header: Header,
    /// Where the next frame goes.
    offset: u64,
    /// The position of the next record.
    position: u64,
    /// Offset and position up to which everything is durable.
    durable: (u64, u64),
}

/// Whether the file can be trusted to be what we wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Sound,
    /// A write or sync failed. After a failed sync the kernel may have dropped the pages and call them clean, so
    /// neither syncing again nor writing on proves anything; see [`SegmentLog::repair`].
    Poisoned,
}

/// The event log, for one writer.
pub struct SegmentLog {
    files: Arc<dyn Files>,
    limits: Limits,
    clock: Clock,
    shared: Shared,
    active: Active,
    state: State,
    /// Whether the batch being written has its mark already.
    marked: bool,
    buffer: Vec<u8>,
    cut: u64,
}

impl SegmentLog {
    /// Opens or begins a log. A torn tail of the last segment is cut off: nothing in it was acknowledged. Damage
    /// before a mark is [`LogError::Corrupt`].
    pub fn open(files: Arc<dyn Files>, limits: Limits, clock: Clock) -> Result<Self, LogError> {
        let mut names = segment_names(&*files)?;
        let removed = drop_unborn(&*files, &mut names)?;
        let mut segments = Vec::new();
        for (first, name) in &names {
            let header = Cursor::open(&*files, name.clone(), *first, limits.record_bytes)?.header;
            segments.push(SegmentInfo { name: name.clone(), first: *first, created: header.created });
        }
        let (active, cut) = match segments.last() {
            Some(last) => recover(&*files, last, limits)?,
            None => {
                let active = begin(&*files, Header { first: removed.unwrap_or(0), created: clock() })?;
                segments.push(active.info());
                (active, 0)
            }
        };
        let view = View { segments, durable: active.durable.1, durable_offset: active.durable.0 };
        let view = Arc::new(Mutex::new(view));
        let shared = Shared { files: files.clone(), view, longest: limits.record_bytes };
        let state = State::Sound;
        Ok(Self { files, limits, clock, shared, active, state, marked: false, buffer: Vec::new(), cut })
    }

    /// How many bytes of a torn tail were cut off when it was opened.
    #[must_use]
    pub fn cut_at_open(&self) -> u64 {
        self.cut
    }

    /// The first position that is not durable: where the next acknowledged record can be at the earliest.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.active.durable.1
    }

    /// The segments, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.shared.segments()
    }

    /// Reads everything durable from a position on.
    pub fn read_from(&self, position: u64) -> Result<Reader, LogError> {
        self.shared.read_from(position)
    }

    pub(super) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// Copies everything durable into another, empty folder.
    pub fn copy_to(&self, target: &dyn Files) -> Result<(), LogError> {
        self.shared.copy_to(target)
    }

    /// Writes a group behind the last one and returns its first position. It is durable only after [`Self::sync`].
    pub fn append(&mut self, group: &Group) -> Result<u64, LogError> {
        if self.state == State::Poisoned {
            self.repair()?;
        }
        let size = self.check_size(group)?;
        let full = self.active.offset + size > self.limits.segment_bytes;
        if full && self.active.position > self.active.header.first {
            self.sync()?;
            self.roll()?;
        }
        self.buffer.clear();
        let first = self.active.position;
        if !self.marked {
            frame::put_mark(&mut self.buffer, self.active.header, first, self.active.offset);
        }
        let positions = first..;
        for (position, record) in positions.zip(group.iter()) {
            frame::put_record(&mut self.buffer, position, record);
        }
        if let Err(error) = self.active.file.write_at(self.active.offset, &self.buffer) {
            return Err(self.write_failed(&error));
        }
        self.marked = true;
        self.active.offset += self.buffer.len() as u64;
        self.active.position += group.len() as u64;
        Ok(first)
    }

    /// Makes everything appended durable and returns the position behind it.
    pub fn sync(&mut self) -> Result<u64, LogError> {
        if self.state == State::Poisoned {
            self.repair()?;
        }
        let written = (self.active.offset, self.active.position);
        if written == self.active.durable {
            return Ok(written.1);
        }
        if let Err(error) = self.active.file.sync() {
            self.state = State::Poisoned;
            return Err(self.failed("sync", &error));
        }
        self.active.durable = written;
        self.marked = false;
        let mut view = self.shared.view();
        view.durable = written.1;
        view.durable_offset = written.0;
        Ok(written.1)
    }

    /// Ends the log so that the next open can tell damage from a torn tail everywhere.
    pub fn close(mut self) -> Result<(), LogError> {
        self.sync()?;
        self.buffer.clear();
        let (offset, position) = self.active.durable;
        frame::put_mark(&mut self.buffer, self.active.header, position, offset);
        let written = self.active.file.write_at(offset, &self.buffer).and_then(|()| self.active.file.sync());
        written.map_err(|error| self.failed("close", &error))
    }

    /// Removes segments of which every record is before `position` and was written before `older_than`. The caller
    /// passes the checkpoint's position, so that nothing is lost that a restart needs. Returns how many went.
    pub fn drop_before(&mut self, position: u64, older_than: Micros) -> Result<usize, LogError> {
        let position = position.min(self.end());
        let segments = self.segments();
        // A segment's last record is older than the next segment's beginning.
        let droppable = |next: &SegmentInfo| next.first <= position && next.created <= older_than;
        let count = segments.iter().skip(1).take_while(|next| droppable(next)).count();
        for (done, segment) in segments.iter().take(count).enumerate() {
            self.files
                .remove(&segment.name)
                .map_err(|error| LogError::io("remove", &segment.name, &error))?;
            self.shared.view().segments = segments[done + 1..].to_vec();
        }
        if count > 0 {
            self.files.sync_names().map_err(|error| LogError::io("sync", "the folder", &error))?;
        }
        Ok(count)
    }

    /// After a failed write or sync: cuts the file to the last acknowledged byte, and goes on in a new segment, whose
    /// pages the failure cannot have touched. Called by the next append too.
    pub fn repair(&mut self) -> Result<(), LogError> {
        if self.state == State::Sound {
            return Ok(());
        }
        let (offset, position) = self.active.durable;
        let cut = self.active.file.truncate(offset).and_then(|()| self.active.file.sync());
        cut.map_err(|error| self.failed("repair", &error))?;
        self.active.offset = offset;
        self.active.position = position;
        self.marked = false;
        if position > self.active.header.first {
            self.roll()?;
        }
        self.state = State::Sound;
        Ok(())
    }

    /// Whether the next append has to repair first, and so takes back what is not durable yet.
    pub(super) fn is_poisoned(&self) -> bool {
        self.state == State::Poisoned
    }

    fn check_size(&self, group: &Group) -> Result<u64, LogError> {
        let longest = group.iter().map(<[u8]>::len).max().unwrap_or(0);
        let size: usize = group.iter().map(|record| frame::FRAME + record.len()).sum::<usize>() + MARK;
        let fits = longest <= self.limits.record_bytes as usize
            && (HEADER + size) as u64 <= self.limits.segment_bytes;
        if fits { Ok(size as u64) } else { Err(LogError::TooLarge) }
    }

    /// Begins the next segment. Everything written is durable when this is called.
    fn roll(&mut self) -> Result<(), LogError> {
        let header = Header { first: self.active.durable.1, created: (self.clock)() };
        let next = begin(&*self.files, header)?;
        let _ = mem::replace(&mut self.active, next);
        self.marked = false;
        let mut view = self.shared.view();
        view.segments.push(self.active.info());
        view.durable_offset = self.active.offset;
        Ok(())
    }

    fn write_failed(&mut self, error: &std::io::Error) -> LogError {
        // A full disk is ordinary: take the group back and go on. Any other failure is not understood.
        let undone = is_full(error) && self.active.file.truncate(self.active.offset).is_ok();
        if !undone {
            self.state = State::Poisoned;
        }
        self.failed("write", error)
    }

    fn failed(&self, doing: &str, error: &std::io::Error) -> LogError {
        if is_full(error) { LogError::Full } else { LogError::io(doing, &self.active.name, error) }
    }
}

impl Active {
    fn info(&self) -> SegmentInfo {
        SegmentInfo { name: self.name.clone(), first: self.header.first, created: self.header.created }
    }
}

/// Creates a segment whose header and name are durable before anything is written to it.
fn begin(files: &dyn Files, header: Header) -> Result<Active, LogError> {
    let name = format!("{:020}{SUFFIX}", header.first);
    let create = || {
        let mut file = files.create(&name)?;
        file.write_at(0, &header.encode())?;
        file.sync()?;
        files.sync_names()?;
        Ok(file)
    };
    match create() {
        Ok(file) => {
            let offset = HEADER as u64;
            let durable = (offset, header.first);
            Ok(Active { file, name, header, offset, position: header.first, durable })
        }
        Err(error) => {
            // It holds no record. Should removing fail too, then the next attempt fails and says so.
            let removed = files.remove(&name);
            Err(match (is_full(&error), removed) {
                (true, Ok(())) => LogError::Full,
                (true | false, _) => LogError::io("create", &name, &error),
            })
        }
    }
}

/// All segments, oldest first.
fn segment_names(files: &dyn Files) -> Result<Vec<(u64, String)>, LogError> {
    let names = files.list().map_err(|error| LogError::io("list", "the folder", &error))?;
    let parse = |name: String| Some((name.strip_suffix(SUFFIX)?.parse().ok()?, name));
    let mut found: Vec<_> = names.into_iter().filter_map(parse).collect();
    found.sort();
    Ok(found)
}

/// Removes a last segment that was being created in a crash: it has no whole header, and nothing behind one. Returns
/// the position it would have begun at.
fn drop_unborn(files: &dyn Files, names: &mut Vec<(u64, String)>) -> Result<Option<u64>, LogError> {
    let Some((first, name)) = names.last() else { return Ok(None) };
    let failed = |error| LogError::io("inspect", name, &error);
    let file = files.open(name).map_err(failed)?;
    let mut head = [0; HEADER];
    let read = file.read_at(0, &mut head).map_err(failed)?;
    if file.size().map_err(failed)? > HEADER as u64 || Header::decode(&head[..read]).is_some() {
        return Ok(None);
    }
    let first = *first;
    files.remove(name).map_err(failed)?;
    names.pop();
    Ok(Some(first))
}

/// Finds the end of the last segment and cuts off what was not written whole. Returns the number of bytes cut.
fn recover(files: &dyn Files, last: &SegmentInfo, limits: Limits) -> Result<(Active, u64), LogError> {
    let mut cursor = Cursor::open(files, last.name.clone(), last.first, limits.record_bytes)?;
    let torn = loop {
        match cursor.next()? {
            Next::Record(_) => {}
            Next::End => break false,
            Next::Bad => break true,
        }
    };
    if torn && cursor.mark_follows()? {
        return Err(LogError::Corrupt {
            segment: last.name.clone(),
            offset: cursor.offset,
            why: "a record was damaged after it had been acknowledged",
        });
    }
    let failed = |error| LogError::io("recover", &last.name, &error);
    let mut file = files.open(&last.name).map_err(failed)?;
    let size = file.size().map_err(failed)?;
    if torn {
        file.truncate(cursor.offset).map_err(failed)?;
    }
    // Frames that the crash left in the page cache only must be durable before anything is built on them.
    file.sync().map_err(failed)?;
    let Cursor { header, position, offset, .. } = cursor;
    let name = last.name.clone();
    let active = Active { file, name, header, offset, position, durable: (offset, position) };
    Ok((active, size.saturating_sub(offset)))
}

impl From<LogError> for Fault {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Fault(fault) => fault,
            LogError::Full | LogError::Busy => Self::machine(error.to_string()),
            LogError::Corrupt { .. } => Self::operator(error.to_string()),
            LogError::TooLarge | LogError::Gone { .. } => Self::ours(error.to_string()),
        }
    }
}
