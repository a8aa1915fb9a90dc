//! Staying in step with the server: when to connect, which frames to take, when what is held is stale.
//!
//! A pure state machine: times and random numbers are arguments, and what it wants done is its answer. Whatever a
//! network does to frames (loses, repeats, reorders them, cuts a connection at any byte), what is held never goes back
//! to an earlier revision, never mixes two versions, and reaches what the server serves.

use ensign_control::ids::{Span, Timestamp};
use ensign_protocol::stream::{Frame, Position};

use crate::pause::pause;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// From the request to its answer's head and first frame.
    pub connect: Span,
    /// The bound of the first wait after a connection ended; it doubles with each failure.
    pub first_wait: Span,
    /// The longest bound of a wait.
    pub longest_wait: Span,
    /// After the key was refused: somebody has to act first.
    pub refused_wait: Span,
    /// A connection that lasted this long was good: the waits begin anew.
    pub healthy: Span,
    /// So long without word, and what is held is called stale.
    pub stale: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect: Span::seconds(10),
            first_wait: Span::seconds(1),
            longest_wait: Span::seconds(30),
            refused_wait: Span::seconds(60),
            healthy: Span::seconds(10),
            stale: Span::seconds(90),
        }
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was not made, or broke, or the server closed it.
    Lost,
    /// The key was refused.
    Refused(u16),
    /// The server said when to come back.
    Later(Span),
}

/// What happened. `connection` is the number that [`Do::Connect`] gave; news of others are old and ignored.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Time passed.
    Tick,
    /// Bytes came, perhaps only a heartbeat.
    Heard {
        /// On which connection.
        connection: u64,
    },
    /// A frame came; none: one that cannot be read.
    Frame {
        /// On which connection.
        connection: u64,
        /// The frame.
        frame: Option<&'a Frame>,
    },
    /// A connection ended.
    Ended {
        /// Which.
        connection: u64,
        /// How.
        end: End,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Do {
    /// Ask for the stream, naming what is held; an older connection is closed first.
    Connect {
        /// The number of the new connection.
        connection: u64,
        /// What is held.
        cursor: Option<String>,
    },
    /// Close this connection.
    Close {
        /// Which.
        connection: u64,
    },
    /// Serve what the frame says.
    Take,
}

/// How well what is held is known to be what is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// There has been no word from the server yet.
    Never,
    /// The server is heard.
    Current,
    /// The connection is lost for a moment; what is held was right at that time.
    Lost {
        /// When the server was last heard.
        since: Timestamp,
    },
    /// There has been no word for long.
    Stale {
        /// When the server was last heard.
        since: Timestamp,
    },
    /// The server refuses the key.
    Refused {
        /// The HTTP status.
        status: u16,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting {
        until: Timestamp,
    },
    /// Asked, and no frame yet.
    Connecting {
        since: Timestamp,
    },
    Streaming {
        since: Timestamp,
        heard: Timestamp,
    },
}

/// The state machine.
#[derive(Debug, Clone)]
pub struct Sync {
    settings: Settings,
    phase: Phase,
    connection: u64,
    held: Option<Position>,
    /// The cursor is not sent: what is held did not fit what came, so the whole is needed.
    whole: bool,
    /// The overlay below which frames of this connection are old.
    overlay: Option<u64>,
    failures: u32,
    silence: Span,
    heard: Option<Timestamp>,
    refused: Option<u16>,
}

impl Sync {
    /// Begins with what the disk had. The first [`Input::Tick`] connects.
    #[must_use]
    pub fn new(settings: Settings, held: Option<Position>, now: Timestamp) -> Self {
        Self {
            settings,
            phase: Phase::Waiting { until: now },
            connection: 0,
            held,
            whole: false,
            overlay: None,
            failures: 0,
            silence: Span::seconds(60),
            heard: None,
            refused: None,
        }
    }

    /// What is held.
    #[must_use]
    pub fn held(&self) -> Option<&Position> {
        self.held.as_ref()
    }

    /// When to be told of the time next, if nothing else happens.
    #[must_use]
    pub fn wake(&self) -> Timestamp {
        match self.phase {
            Phase::Waiting { until } => until,
            Phase::Connecting { since } => since + self.settings.connect,
            Phase::Streaming { heard, .. } => heard + self.silence,
        }
    }

    /// How well the server is heard.
    #[must_use]
    pub fn contact(&self, now: Timestamp) -> Contact {
        if let Some(status) = self.refused {
            return Contact::Refused { status };
        }
        match (self.phase, self.heard) {
            (_, None) => Contact::Never,
            (Phase::Streaming { .. }, Some(_)) => Contact::Current,
            (_, Some(since)) if now - since >= self.settings.stale => Contact::Stale { since },
            (_, Some(since)) => Contact::Lost { since },
        }
    }

    /// Takes in what happened and says what to do, in order.
    pub fn step(&mut self, now: Timestamp, input: Input<'_>, dice: u64) -> Vec<Do> {
        match input {
            Input::Tick => self.tick(now, dice),
            Input::Heard { connection } => {
                if connection == self.connection
                    && let Phase::Streaming { heard, .. } = &mut self.phase
                {
                    *heard = now;
                    self.heard = Some(now);
                }
                Vec::new()
            }
            Input::Frame { connection, frame } if connection == self.connection => {
                self.frame(now, frame, dice)
            }
            Input::Ended { connection, end } if connection == self.connection => {
                self.ended(now, end, dice);
                Vec::new()
            }
            Input::Frame { .. } | Input::Ended { .. } => Vec::new(),
        }
    }

    fn tick(&mut self, now: Timestamp, dice: u64) -> Vec<Do> {
        if now < self.wake() {
            return Vec::new();
        }
        match self.phase {
            Phase::Waiting { .. } => {
                self.connection += 1;
                self.overlay = None;
                self.phase = Phase::Connecting { since: now };
                let cursor = self.held.as_ref().filter(|_| !self.whole).map(|held| held.cursor.clone());
                vec![Do::Connect { connection: self.connection, cursor }]
            }
            Phase::Connecting { .. } | Phase::Streaming { .. } => {
                let connection = self.connection;
                self.ended(now, End::Lost, dice);
                vec![Do::Close { connection }]
            }
        }
    }

    fn ended(&mut self, now: Timestamp, end: End, dice: u64) {
        let healthy = match self.phase {
            Phase::Streaming { since, .. } => now - since >= self.settings.healthy,
            Phase::Connecting { .. } => false,
            Phase::Waiting { .. } => return,
        };
        self.failures = if healthy { 0 } else { self.failures.saturating_add(1) };
        let Settings { first_wait, longest_wait, refused_wait, .. } = self.settings;
        let wait = match end {
            // The first try after a loss comes soon; the exponent counts failures before this one.
            End::Lost => pause(first_wait, longest_wait, self.failures.saturating_sub(1), dice),
            End::Refused(status) => {
                self.refused = Some(status);
                refused_wait + pause(refused_wait, refused_wait, 0, dice)
            }
            End::Later(after) => after + pause(first_wait, longest_wait, 0, dice),
        };
        // News of this connection are old from now on.
        self.connection += 1;
        self.phase = Phase::Waiting { until: now + wait };
    }

    fn frame(&mut self, now: Timestamp, frame: Option<&Frame>, dice: u64) -> Vec<Do> {
        let since = match self.phase {
            Phase::Connecting { .. } => now,
            Phase::Streaming { since, .. } => since,
            Phase::Waiting { .. } => return Vec::new(),
        };
        self.phase = Phase::Streaming { since, heard: now };
        self.heard = Some(now);
        self.refused = None;
        match frame {
            None => self.begin_anew(now, dice),
            Some(Frame::Other) => Vec::new(),
            Some(Frame::Hello(hello)) => {
                self.silence = Span::seconds(i64::from(hello.heartbeat_seconds.clamp(1, 3_600)) * 5 / 2);
                vec![Do::Take]
            }
            Some(Frame::Put(put)) => {
                self.whole = false;
                if self.is_new(&put.at) { self.take(&put.at) } else { Vec::new() }
            }
            Some(Frame::Patch(patch)) => {
                let fits = self.held.as_ref().is_some_and(|held| held.cursor == patch.from);
                if fits && self.is_new(&patch.at) {
                    return self.take(&patch.at);
                }
                let known =
                    self.held.as_ref().is_some_and(|held| {
                        held.cursor == patch.at.cursor || held.revision > patch.at.revision
                    }) || self.is_late(&patch.at);
                // A repeated or late frame says nothing new; else something between was lost.
                if known { Vec::new() } else { self.begin_anew(now, dice) }
            }
        }
    }

    /// Within one connection overlays only rise; a lower one is a frame that came late.
    fn is_late(&self, at: &Position) -> bool {
        let same = self.held.as_ref().is_some_and(|held| held.revision == at.revision);
        same && self.overlay.is_some_and(|overlay| at.overlay <= overlay)
    }

    fn is_new(&self, at: &Position) -> bool {
        let Some(held) = &self.held else { return true };
        at.revision >= held.revision && at.cursor != held.cursor && !self.is_late(at)
    }

    fn take(&mut self, at: &Position) -> Vec<Do> {
        self.overlay = Some(at.overlay);
        self.held = Some(at.clone());
        self.whole = false;
        vec![Do::Take]
    }

    /// What came does not fit what is held: the next connection asks for the whole.
    fn begin_anew(&mut self, now: Timestamp, dice: u64) -> Vec<Do> {
        let connection = self.connection;
        self.whole = true;
        self.ended(now, End::Lost, dice);
        vec![Do::Close { connection }]
    }
}
