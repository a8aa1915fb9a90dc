//! Reading records back: streaming, one window of a segment in memory.

use std::sync::Arc;

use super::frame::{self, FRAME, Found, HEADER, Header, MARK};
use super::segments::SegmentInfo;
use super::{File, Files, LogError};

/// How much is read at once.
const WINDOW: usize = 1 << 20;

/// An iterator over `(position, record)`, up to what was durable when it was made.
///
/// It ends after the first error: damaged data is named, never skipped.
pub struct Reader {
    files: Arc<dyn Files>,
    /// Segments still to read, the next one last.
    todo: Vec<SegmentInfo>,
    open: Option<Cursor>,
    from: u64,
    end: u64,
    longest: u32,
}

impl Reader {
    /// `segments` in order of position; `end` is the first position that is not to be read.
    pub(super) fn new(
        files: Arc<dyn Files>,
        segments: &[SegmentInfo],
        from: u64,
        end: u64,
        longest: u32,
    ) -> Result<Self, LogError> {
        let first = segments.first().map_or(end, |segment| segment.first);
        if from < first {
            return Err(LogError::Gone { first });
        }
        // The last segment that begins at or before `from` is the one that holds it.
        let skip = segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
        let todo = segments[skip..].iter().rev().cloned().collect();
        Ok(Self { files, todo, open: None, from, end, longest })
    }

    fn step(&mut self) -> Result<Option<(u64, Vec<u8>)>, LogError> {
        loop {
            let Some(cursor) = &mut self.open else {
                let Some(segment) = self.todo.pop() else { return Ok(None) };
                if segment.first >= self.end {
                    return Ok(None);
                }
                self.open = Some(Cursor::open(&*self.files, segment.name, segment.first, self.longest)?);
                continue;
            };
            if cursor.position >= self.end {
                return Ok(None);
            }
            let next_segment = self.todo.last().map(|segment| segment.first);
            if next_segment == Some(cursor.position) {
                self.open = None;
                continue;
            }
            let position = cursor.position;
            match cursor.next()? {
                Next::Record(range) if position >= self.from => {
                    return Ok(Some((position, cursor.bytes(range).to_vec())));
                }
                Next::Record(_) => {}
                Next::End => return Err(cursor.corrupt("it ends before its last record")),
                Next::Bad => return Err(cursor.corrupt("a record does not match its checksum")),
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<(u64, Vec<u8>), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.todo.clear();
            self.open = None;
        }
        step.transpose()
    }
}

/// What a cursor came upon.
pub(super) enum Next {
    /// A record: where its payload is in the window.
    Record(std::ops::Range<usize>),
    /// The segment ends here, between frames.
    End,
    /// What stands here was not written whole, or was damaged.
    Bad,
}

/// A place in one segment.
pub(super) struct Cursor {
    file: Box<dyn File>,
    name: String,
    pub(super) header: Header,
    /// The position of the next record.
    pub(super) position: u64,
    /// Where the next frame begins in the file.
    pub(super) offset: u64,
    window: Vec<u8>,
    /// Where the window begins in the file.
    window_at: u64,
    longest: u32,
}

impl Cursor {
    pub(super) fn open(files: &dyn Files, name: String, first: u64, longest: u32) -> Result<Self, LogError> {
        let file = files.open(&name).map_err(|error| LogError::io("open", &name, &error))?;
        let mut head = [0; HEADER];
        let filled = fill(&*file, 0, &mut head).map_err(|error| LogError::io("read", &name, &error))?;
        let Some(header) = Header::decode(&head[..filled]).filter(|header| header.first == first) else {
            return Err(LogError::Corrupt { segment: name, offset: 0, why: "its header is damaged" });
        };
        let offset = HEADER as u64;
        Ok(Self {
            file,
            name,
            header,
            position: first,
            offset,
            window: Vec::new(),
            window_at: offset,
            longest,
        })
    }

    pub(super) fn next(&mut self) -> Result<Next, LogError> {
        loop {
            let start = (self.offset - self.window_at) as usize;
            let rest = self.window.get(start..).unwrap_or_default();
            match frame::look(rest, self.header, self.position, self.offset, self.longest) {
                Found::Record { length } => {
                    let payload = start + FRAME;
                    self.position += 1;
                    self.offset += (FRAME + length) as u64;
                    return Ok(Next::Record(payload..payload + length));
                }
                Found::Mark => self.offset += MARK as u64,
                Found::Bad => return Ok(Next::Bad),
                Found::Short { need } => {
                    self.read(need.max(WINDOW))?;
                    if self.window.is_empty() {
                        return Ok(Next::End);
                    }
                    if self.window.len() < need {
                        return Ok(Next::Bad);
                    }
                }
            }
        }
    }

    pub(super) fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.window[range]
    }

    fn read(&mut self, size: usize) -> Result<(), LogError> {
        self.window.resize(size, 0);
        self.window_at = self.offset;
        let filled = fill(&*self.file, self.offset, &mut self.window)
            .map_err(|error| LogError::io("read", &self.name, &error))?;
        self.window.truncate(filled);
        Ok(())
    }

    fn corrupt(&self, why: &'static str) -> LogError {
        LogError::Corrupt { segment: self.name.clone(), offset: self.offset, why }
    }

    /// After a bad frame: whether a mark stands anywhere behind it. If one does, the frame was durable once, because
    /// marks are written only after a sync, and so it was damaged later.
    pub(super) fn mark_follows(&mut self) -> Result<bool, LogError> {
        let mut at = self.offset;
        let mut block = vec![0; WINDOW];
        loop {
            let filled = fill(&*self.file, at, &mut block)
                .map_err(|error| LogError::io("read", &self.name, &error))?;
            if filled < MARK {
                return Ok(false);
            }
            let last = filled - MARK;
            let found = (0..=last).any(|start| {
                block[start] == 0xff && frame::is_mark(&block[start..filled], self.header, at + start as u64)
            });
            if found {
                return Ok(true);
            }
            at += last as u64 + 1;
        }
    }
}

fn fill(file: &dyn File, mut offset: u64, into: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(offset, &mut into[filled..])? {
            0 => break,
            read => {
                filled += read;
                offset += read as u64;
            }
        }
    }
    Ok(filled)
}
